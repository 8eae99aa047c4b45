/** The service's rules for sequences in memory, over a connection that is cut and an engine that refuses at random. */

/** What goes wrong, each as a probability per frame or item. */
export interface Faults {
  /** The connection is cut; what of the frames in flight was taken is random. */
  cut: number;
  /** What a cut connection had delivered is taken late, between the frames of the connections after it. */
  late: number;
  /** An item, or a question, is refused for now and not applied. */
  overloaded: number;
  /** An item is answered `store_unavailable`; whether it was applied is random. */
  unavailable: number;
  /** Before an item, somebody else applies one of its own. */
  other: number;
}

export const NO_FAULTS: Faults = { cut: 0, late: 0, overloaded: 0, unavailable: 0, other: 0 };

interface Learned {
  sequence: number;
  /** What was learned; a negative number is another writer's. */
  value: number;
}

interface Item {
  stream: string;
  item: { value: number | null };
  sequence: number;
}

/** Replies are kept as long as the service keeps them. */
export class FakeService {
  readonly learned = new Map<string, Learned[]>();
  readonly window: { items: number; per_stream: number };
  nCuts = 0;
  nDuplicates = 0;
  nRefused = 0;
  /** Most items, and most of one stream, that were in flight at once. */
  most = { items: 0, perStream: 0 };
  readonly #faults: Faults;
  readonly #random: () => number;
  #frames: string[] = [];
  #late: string[][] = [];

  constructor(faults: Partial<Faults>, random: () => number, window = { items: 64, per_stream: 8 }) {
    this.#faults = { ...NO_FAULTS, ...faults };
    this.#random = random;
    this.window = window;
  }

  /** What a stream has learned, in order. */
  values(stream: string): number[] {
    return (this.learned.get(stream) ?? []).map(({ value }) => value);
  }

  send(json: string): void {
    this.#frames.push(json);
    const inFlight = this.#frames.flatMap((frame) => (JSON.parse(frame).observations ?? []) as Item[]);
    const counts = new Map<string, number>();
    for (const { stream } of inFlight) counts.set(stream, (counts.get(stream) ?? 0) + 1);
    this.most.items = Math.max(this.most.items, inFlight.length);
    this.most.perStream = Math.max(this.most.perStream, ...counts.values());
  }

  get isAwaited(): boolean {
    return this.#frames.length > 0;
  }

  /** Answer the oldest frame; `undefined` where the connection was cut instead. */
  answer(): unknown {
    if (this.#happens("cut")) {
      this.nCuts++;
      const nTaken = Math.floor(this.#random() * (this.#frames.length + 1));
      this.#late.push(this.#frames.slice(0, nTaken));
      if (!this.#happens("late")) this.#takeLate(Infinity);
      this.#frames = [];
      return undefined;
    }
    this.#takeLate(2);
    return this.#take(this.#frames.shift() ?? "");
  }

  /** Take frames of cut connections, each connection's in their order; their answers are lost. */
  #takeLate(most: number): void {
    for (const frames of this.#late) {
      const n = most === Infinity ? most : Math.floor(this.#random() * (most + 1));
      for (const frame of frames.splice(0, n)) this.#take(frame);
    }
    this.#late = this.#late.filter((frames) => frames.length > 0);
  }

  #take(json: string): unknown {
    const frame = JSON.parse(json) as { streams?: string[]; observations?: Item[] };
    if (frame.streams !== undefined) {
      if (this.#happens("overloaded")) return refused("overloaded");
      if (frame.streams.some((stream) => stream.includes("/"))) return refused("invalid_request");
      const sequences = Object.fromEntries(frame.streams.map((stream) => [stream, this.values(stream).length]));
      return { sequences, window: this.window };
    }
    return { results: (frame.observations ?? []).map((item) => this.#observe(item)) };
  }

  #observe({ stream, item, sequence }: Item): unknown {
    const { value } = item;
    if (value === null || stream.includes("/")) return refused("invalid_item");
    const learned = this.learned.get(stream) ?? [];
    this.learned.set(stream, learned);
    if (this.#happens("other")) learned.push({ sequence: learned.length + 1, value: -1 });
    if (this.#happens("overloaded")) return refused("overloaded");
    const isLost = this.#happens("unavailable");
    if (isLost && this.#random() < 0.5) return refused("store_unavailable");
    const expected = learned.length + 1;
    const places = { stream, expected, received: sequence };
    if (sequence > expected) return refused("sequence_gap", places);
    if (sequence <= expected - 1 - this.window.per_stream) return refused("sequence_stale", places);
    const duplicate = sequence < expected;
    if (duplicate) this.nDuplicates++;
    else learned.push({ sequence, value });
    return isLost ? refused("store_unavailable") : reply(stream, sequence, duplicate, learned[sequence - 1]?.value);
  }

  #happens(fault: keyof Faults): boolean {
    const happens = this.#random() < this.#faults[fault];
    if (happens && (fault === "overloaded" || fault === "unavailable")) this.nRefused++;
    return happens;
  }
}

function refused(code: string, data: object = {}): unknown {
  return { error: { code, message: code, request_id: "r", ...data } };
}

/** The prediction tells the value that was learned under the number, so that a test sees whose reply it is. */
function reply(stream: string, sequence: number, duplicate: boolean, value: number | undefined): unknown {
  const prediction = { sequence: sequence + 1, weights_version: 0, fields: { value: { mean: value } } };
  return { stream, sequence, duplicate, score: null, prediction };
}
