/**
 * Many items over one connection: numbering, what may be in flight, and what is sent again. No I/O, no clock.
 *
 * Every item leaves under a number of its own, so sending it again under that number does no harm. Three rules make
 * the rest:
 *
 * - What was in flight when the connection broke is sent again first, in its order, under the same numbers; it is *in
 *   doubt*, and a duplicate is then its own reply.
 * - An item that is refused for now opens a gap for those of its stream behind it. Nothing more of that stream is sent
 *   until all of it in flight is answered; then it goes on from the refused item. One that is refused for good leaves
 *   its number to the next.
 * - A duplicate that answers an item's first attempt is somebody else's: another writer took the number. The item is
 *   numbered anew, and from then on one item of that stream is in flight at a time.
 *
 * One writer per stream is the normal case. With others two things remain: where an answer was lost, a duplicate is
 * taken for the item's own reply though another writer may have taken its number; and at the first meeting an item
 * behind the taken one may have been applied, so that the taken one would come out of order: it is `SequenceTaken`.
 *
 * What a broken request had delivered may be taken late, between what is sent after it; as numbers stay, it does no
 * harm. Only behind an item that is refused for good do they change: an item behind it that was in flight at the break
 * could then be learned under both of its numbers, if its first attempt were taken after the second. Over WebSockets
 * that cannot be: each names its feed, and the service takes nothing of the one before once the next has begun.
 */

import { InvalidItem, InvalidRequest, StepaheadError } from "./errors.js";
import { type Entry, Lane, type Observation, type Outcome } from "./lane.js";
import { delayMs, type RetryPolicy } from "./retry.js";
import { badAnswer, isObject, outcome, toError } from "./wire.js";

/** Most names in a question for sequences. */
const MAX_NAMES = 256;
/** Characters from which a frame takes no further item. */
const FULL_FRAME_CHARS = 2 ** 18;
/** Streams whose next number is known; a forgotten one costs a question. */
const MAX_LANES = 20_000;
/** What may be in flight until the server has said it. */
const DEFAULT_WINDOW: Window = { items: 1024, perStream: 64 };

interface Window {
  items: number;
  perStream: number;
}

/** What is to be sent next; its answer goes to {@link Pipeline.answered}. */
export interface Frame {
  readonly kind: "sequences" | "observations";
  readonly json: string;
}

export interface PipelineOptions {
  readonly policy: RetryPolicy;
  /** With `"raise"` nothing behind the first refused row is sent from then on. */
  readonly errors: "raise" | "yield";
  /** Most rows of a frame. */
  readonly chunk: number;
  /** Most frames without an answer, to begin with. */
  readonly maxFrames: number;
  /** Numbers in [0, 1), for the jitter of delays. */
  readonly random: () => number;
}

type Sent = { kind: "sequences"; lanes: Lane[] } | { kind: "observations"; entries: Entry[] };

/** Takes rows and answers, gives frames to send and, in the order of the rows, one outcome each. */
export class Pipeline {
  /** Rows with an outcome, taken or not: a connection that adds to it is of use. */
  nSettled = 0;
  /** Most frames without an answer. */
  maxFrames: number;
  readonly #options: PipelineOptions;
  readonly #lanes = new Map<string, Lane>();
  /** Rows without outcome, in order. */
  readonly #entries = new Map<number, Entry>();
  readonly #outcomes = new Map<number, Outcome>();
  readonly #sent: Sent[] = [];
  /** What the server takes in; `null` until it has said so over this connection. */
  #window: Window | null = null;
  #capacity = DEFAULT_WINDOW.items;
  #nAdded = 0;
  #nTaken = 0;
  #nQuestionsRefused = 0;
  #resumeAtMs = 0;
  /** Index of the first refused row, where that ends it. */
  #end = Infinity;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.maxFrames = options.maxFrames;
  }

  /** Whether another row may be added: no more are held than the server takes in. */
  get hasRoom(): boolean {
    return this.#nAdded - this.#nTaken < this.#capacity && this.#end === Infinity;
  }

  /** Whether every row that was added has been taken as an outcome. */
  get isDone(): boolean {
    return this.#nTaken === this.#nAdded;
  }

  /** Whether any row has no outcome yet. */
  get isBusy(): boolean {
    return this.#entries.size > 0;
  }

  /** Whether a frame has no answer yet. */
  get isFlying(): boolean {
    return this.#sent.length > 0;
  }

  /** Add a row; an error is the outcome of one that cannot be sent. */
  add(row: Observation | StepaheadError): void {
    const index = this.#nAdded++;
    if (row instanceof StepaheadError) this.#keep(index, row);
    else this.#entries.set(index, this.#lane(row.stream).add(index, row));
  }

  /** The outcome of the next row; `undefined` where it has none yet. */
  take(): Outcome | undefined {
    const found = this.#outcomes.get(this.#nTaken);
    if (found !== undefined) this.#outcomes.delete(this.#nTaken++);
    return found;
  }

  /** The next frame to send now; `undefined` for none. What it holds is in flight from here on. */
  send(nowMs: number): Frame | undefined {
    if (this.#sent.length >= this.maxFrames || nowMs < this.#resumeAtMs) return undefined;
    const { chosen, unknown } = this.#choose(nowMs);
    const [first] = unknown;
    if (first !== undefined) return this.#ask(first.alone ? [first] : unknown.filter((lane) => !lane.alone));
    if (chosen.length === 0) return undefined;
    if (this.#window === null) return this.#sent.length > 0 ? undefined : this.#ask([]);
    const texts = chosen.map(([entry, number]) => {
      entry.lane.sent(entry, number);
      return `${entry.observation.json},"sequence":${number}}`;
    });
    this.#sent.push({ kind: "observations", entries: chosen.map(([entry]) => entry) });
    return { kind: "observations", json: `{"observations":[${texts.join(",")}]}` };
  }

  /** When something that waits for its time may be sent; `undefined` where nothing does. */
  wakeAtMs(nowMs: number): number | undefined {
    if (this.#resumeAtMs > nowMs) return this.#resumeAtMs;
    let earliest = Infinity;
    for (const { state, lane } of this.#entries.values()) {
      if (state === "waiting" && lane.resumeAtMs > nowMs) earliest = Math.min(earliest, lane.resumeAtMs);
    }
    return earliest === Infinity ? undefined : earliest;
  }

  /**
   * Take the answer to the oldest frame in flight.
   *
   * @throws StepaheadError - If nothing can be sent any more; what became of the rows without outcome is unknown.
   */
  answered(answer: unknown, nowMs: number): void {
    const sent = this.#sent.shift();
    if (sent === undefined || !isObject(answer)) throw badAnswer(answer);
    if (sent.kind === "sequences") this.#told(sent.lanes, answer, nowMs);
    else this.#replied(sent.entries, answer, nowMs);
  }

  /** Take note that the connection broke: what was in flight may have been applied, and no answer will come. */
  broke(): void {
    this.#sent.length = 0;
    this.#window = null;
    for (const lane of new Set([...this.#entries.values()].map((entry) => entry.lane))) lane.broke();
  }

  /** Rows that may be sent now with their numbers, in order, and the streams whose numbers must be asked first. */
  #choose(nowMs: number): { chosen: [Entry, number][]; unknown: Lane[] } {
    const chosen: [Entry, number][] = [];
    const unknown: Lane[] = [];
    const passed = new Set<Lane>(); // a row of theirs was not sent, so none behind it is
    const last = new Map<Lane, number>();
    const { items, perStream } = this.#window ?? DEFAULT_WINDOW;
    const nFlying = this.#nFlying();
    const most = Math.min(this.#options.chunk, Math.max(items - nFlying, nFlying === 0 ? 1 : 0));
    let nChars = 0;
    for (const [index, entry] of this.#entries) {
      if (chosen.length >= most || nChars >= FULL_FRAME_CHARS || unknown.length >= MAX_NAMES || index > this.#end)
        break;
      const { lane } = entry;
      if (entry.state !== "waiting" || passed.has(lane)) continue;
      const number = lane.takes(entry, nowMs, perStream) ? lane.numberFor(entry, last.get(lane)) : undefined;
      if (typeof number === "number") {
        last.set(lane, number);
        nChars += entry.observation.json.length;
        chosen.push([entry, number]);
      } else {
        passed.add(lane);
        if (number === null) unknown.push(lane);
      }
    }
    return { chosen, unknown };
  }

  #ask(lanes: Lane[]): Frame {
    for (const lane of lanes) lane.asking = true;
    this.#sent.push({ kind: "sequences", lanes });
    return { kind: "sequences", json: JSON.stringify({ streams: lanes.map((lane) => lane.name) }) };
  }

  #told(lanes: Lane[], answer: Record<string, unknown>, nowMs: number): void {
    for (const lane of lanes) lane.asking = false;
    if ("error" in answer) {
      this.#notTold(lanes, toError(answer["error"]), nowMs);
      return;
    }
    const { sequences, window } = answer;
    if (!isObject(sequences) || !isObject(window)) throw badAnswer(answer);
    const { items, per_stream: perStream } = window;
    if (!isCount(items) || !isCount(perStream)) throw badAnswer(answer);
    this.#window = { items, perStream };
    this.#capacity = items;
    this.#nQuestionsRefused = 0;
    for (const lane of lanes) {
      const sequence = sequences[lane.name];
      if (!Number.isSafeInteger(sequence)) throw badAnswer(answer);
      lane.expected = (sequence as number) + 1;
    }
  }

  #notTold(lanes: Lane[], error: StepaheadError, nowMs: number): void {
    const delay = this.#delayMs(this.#nQuestionsRefused, error);
    const isOfAName = error instanceof InvalidItem || error instanceof InvalidRequest;
    if (delay !== undefined) {
      this.#nQuestionsRefused++;
      this.#resumeAtMs = nowMs + delay;
    } else if (isOfAName && lanes.length > 1) {
      for (const lane of lanes) lane.alone = true; // one bad name must not cost the others their answer
    } else if (isOfAName && lanes[0] !== undefined) {
      lanes[0].refuseAll(error);
    } else {
      throw error;
    }
  }

  #replied(entries: Entry[], answer: Record<string, unknown>, nowMs: number): void {
    if ("error" in answer) {
      const error = toError(answer["error"]);
      if (this.#delayMs(Math.max(...entries.map((entry) => entry.attempts)), error) === undefined) throw error;
      for (const entry of entries) entry.lane.answered(entry, error, nowMs);
      return;
    }
    const { results } = answer;
    if (!Array.isArray(results) || results.length !== entries.length) throw badAnswer(answer);
    entries.forEach((entry, i) => {
      const result = outcome(results[i]);
      if (!(result instanceof StepaheadError) && result.sequence !== entry.number) throw badAnswer(results[i]);
      entry.lane.answered(entry, result, nowMs);
    });
  }

  #nFlying(): number {
    return this.#sent.reduce((n, sent) => n + (sent.kind === "observations" ? sent.entries.length : 0), 0);
  }

  #keep(index: number, result: Outcome): void {
    this.nSettled++;
    this.#outcomes.set(index, result);
    if (result instanceof StepaheadError && this.#options.errors === "raise") this.#end = Math.min(this.#end, index);
  }

  #delayMs(attempts: number, error: StepaheadError): number | undefined {
    return delayMs(this.#options.policy, attempts, error, this.#options.random());
  }

  #lane(name: string): Lane {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new Lane(name, {
        delayMs: (attempts, error) => this.#delayMs(attempts, error),
        settled: (entry, result) => {
          this.#entries.delete(entry.index);
          this.#keep(entry.index, result);
        },
      });
      this.#lanes.set(name, lane);
      if (this.#lanes.size > MAX_LANES) this.#forgetIdle();
    }
    return lane;
  }

  #forgetIdle(): void {
    for (const [name, lane] of this.#lanes) {
      if (this.#lanes.size <= MAX_LANES / 2) return;
      if (lane.entries.length === 0) this.#lanes.delete(name);
    }
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}
