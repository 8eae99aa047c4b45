/** Single items: their numbers, one call of a stream after the other. */

import { SequenceGap, SequenceStale, SequenceTaken, StepaheadError } from "./errors.js";
import type { Http } from "./http.js";
import type { Reply } from "./types.js";
import { badAnswer, isObject, outcome, path } from "./wire.js";

/** Streams whose next number is known; a forgotten one costs a request. */
const MAX_STREAMS = 20_000;
/** Numbers that an item is given before it is `SequenceTaken`. */
const MAX_NUMBERS = 64;

/** One item in the contract's form. */
export interface SingleItem {
  readonly item: Readonly<Record<string, unknown>>;
  readonly timestamp: string | null;
  /** As the caller numbered it; `null` numbers it on the stream's last. */
  readonly sequence: number | null;
}

/** Numbers the items of one model's streams. */
export class Numbering {
  readonly #http: Http;
  readonly #model: string;
  /** The one that was written longest ago comes first. */
  readonly #next = new Map<string, number>();
  readonly #turns = new Map<string, Promise<void>>();

  constructor(http: Http, model: string) {
    this.#http = http;
    this.#model = model;
  }

  /**
   * Observe one item, after all earlier calls for its stream.
   *
   * A stream's next number is forgotten before an item leaves and known again once its reply is here: after any failure
   * the next call asks the server.
   *
   * @throws SequenceTaken - If other writers were faster every time.
   * @throws StepaheadError - The last failure; its data names the stream and the sequence.
   */
  observe(stream: string, given: SingleItem, experts: boolean, signal: AbortSignal | undefined): Promise<Reply> {
    return this.#inTurn(stream, () => this.#observe(stream, given, experts, signal));
  }

  /** Run a call after which a stream stands elsewhere, whatever comes of it; after all earlier calls for it. */
  move<T>(stream: string, run: () => Promise<T>): Promise<T> {
    return this.#inTurn(stream, async () => {
      try {
        return await run();
      } finally {
        this.#next.delete(stream);
      }
    });
  }

  async #observe(stream: string, given: SingleItem, experts: boolean, signal: AbortSignal | undefined): Promise<Reply> {
    const target = path("models", this.#model, "streams", stream, "observations");
    const params = { experts: experts ? "true" : undefined };
    for (let nTaken = 0; ;) {
      const number = given.sequence ?? this.#next.get(stream) ?? (await this.#ask(stream, signal));
      this.#next.delete(stream);
      const doubt = { inDoubt: given.sequence !== null };
      const body = JSON.stringify({ ...given, sequence: number });
      try {
        const reply = outcome(await this.#http.call({ method: "POST", path: target, body, params, signal, doubt }));
        if (reply instanceof StepaheadError) throw badAnswer("an error with a status of success");
        if (!reply.duplicate) this.#know(stream, reply.sequence + 1);
        if (!reply.duplicate || doubt.inDoubt) return reply;
      } catch (error) {
        if (!(error instanceof StepaheadError)) throw error;
        if (error instanceof SequenceGap && error.expected === 1 && given.sequence === null) {
          this.#know(stream, 1); // it was deleted, or has expired: it begins anew
          continue;
        }
        if (!(error instanceof SequenceStale) || doubt.inDoubt) {
          Object.assign(error.data, { stream, sequence: number });
          throw error;
        }
      }
      if (++nTaken === MAX_NUMBERS) throw takenAt(stream, number);
      // The next number is tried at once, as a writer that asks first is always behind one that does not; every second
      // time the server is asked, as the other may be far ahead.
      if (nTaken % 2) this.#know(stream, number + 1);
    }
  }

  async #ask(stream: string, signal: AbortSignal | undefined): Promise<number> {
    const body = JSON.stringify({ streams: [stream] });
    const answer = await this.#http.call({
      method: "POST",
      path: path("models", this.#model, "sequences"),
      body,
      signal,
    });
    const sequences = isObject(answer) ? answer["sequences"] : undefined;
    const sequence = isObject(sequences) ? sequences[stream] : undefined;
    if (typeof sequence !== "number") throw badAnswer(answer);
    return sequence + 1;
  }

  #know(stream: string, next: number): void {
    this.#next.delete(stream);
    this.#next.set(stream, next);
    const [oldest] = this.#next.keys();
    if (this.#next.size > MAX_STREAMS && oldest !== undefined) this.#next.delete(oldest);
  }

  async #inTurn<T>(stream: string, run: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(stream);
    const result = before === undefined ? run() : before.then(run);
    const turn = result.then(ignore, ignore);
    this.#turns.set(stream, turn);
    try {
      return await result;
    } finally {
      if (this.#turns.get(stream) === turn) this.#turns.delete(stream);
    }
  }
}

function takenAt(stream: string, number: number): SequenceTaken {
  const message = `another writer took sequence ${number} of stream ${JSON.stringify(stream)}; the item was not applied`;
  return new SequenceTaken(message, { data: { stream, received: number } });
}

function ignore(): void {
  // a turn ends with either outcome
}
