/** A model's events over connections that come and go. */

import { BadAnswer, NoAnswer, StepaheadError } from "./errors.js";
import type { Http } from "./http.js";
import { delayMs, pause } from "./retry.js";
import { EventParser, type ServerSentEvent } from "./sse.js";
import { Missed, type ReplyEvent } from "./types.js";
import { badAnswer, isObject, outcome, path, toError } from "./wire.js";

const MEDIA_TYPE = "text/event-stream";
/** Silence after which a connection is taken for lost; the service sends a heartbeat every 15 seconds. */
const SILENCE_MS = 60_000;
const OPENED = Symbol("opened");

export interface EventsOptions {
  /** Those to follow; all if absent. */
  streams?: readonly string[] | undefined;
  /** The `id` of the last event that is known; without it, it begins with the next one. */
  after?: string | undefined;
  /** Ends it, with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/**
 * Every reply of a model as it is made, and {@link Missed} in the place of those that were missed.
 *
 * Only once it is open can nothing be missed unsaid: with its first `next`, or after {@link Events.open}.
 */
export class Events implements AsyncIterableIterator<ReplyEvent | Missed> {
  readonly #given: AsyncGenerator<ReplyEvent | Missed | typeof OPENED, never>;
  readonly #end = new AbortController();
  #isOpen = false;
  #isLeft = false;

  constructor(http: Http, model: string, options: EventsOptions) {
    const { signal } = options;
    const end = (): void => this.#end.abort(signal?.reason);
    if (signal?.aborted) end();
    signal?.addEventListener("abort", end, { once: true });
    this.#end.signal.addEventListener("abort", () => signal?.removeEventListener("abort", end));
    this.#given = follow(http, model, options, this.#end.signal);
  }

  /**
   * Wait until the service follows for this reader; no `next` may be under way.
   *
   * @throws StepaheadError - If it does not.
   */
  async open(): Promise<this> {
    while (!this.#isOpen) this.#isOpen = (await this.#given.next()).value === OPENED;
    return this;
  }

  /** @throws StepaheadError - What ended the events for good, as `UnknownModel` once the model is deleted. */
  async next(): Promise<IteratorResult<ReplyEvent | Missed, undefined>> {
    for (;;) {
      try {
        const { value, done } = await this.#given.next();
        if (done) return { value: undefined, done };
        if (value !== OPENED) return { value, done: false };
        this.#isOpen = true;
      } catch (error) {
        if (this.#isLeft) return { value: undefined, done: true };
        throw error;
      }
    }
  }

  /** Read no more. */
  async return(): Promise<IteratorResult<ReplyEvent | Missed, undefined>> {
    this.#isLeft = true;
    this.#end.abort();
    await this.#given.return(undefined as never);
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

async function* follow(
  http: Http,
  model: string,
  options: EventsOptions,
  signal: AbortSignal,
): AsyncGenerator<ReplyEvent | Missed | typeof OPENED, never> {
  const target = path("models", model, "events");
  let lastId = options.after ?? "";
  let wasOpen = false;
  for (let attempt = 0; ; attempt++) {
    const parser = new EventParser(lastId);
    const connection = new Connection(http, signal);
    let error: unknown;
    try {
      const chunks = await connection.open(target, options.streams, lastId);
      yield OPENED;
      if (wasOpen && lastId === "") yield new Missed(null); // there was nothing to go on from
      wasOpen = true;
      for await (const text of chunks) {
        for (const event of parser.feed(text)) {
          const given = read(event);
          attempt = 0;
          yield given;
        }
        if (parser.nComments > 0) attempt = 0;
      }
    } catch (caught) {
      error = caught;
    } finally {
      connection.close();
    }
    signal.throwIfAborted();
    lastId = parser.lastId;
    if (!(error instanceof StepaheadError)) throw error;
    const delay = delayMs(http.policy, attempt, error, Math.random());
    if (delay === undefined) throw error;
    await pause(Math.max(delay, parser.retryMs ?? 0), signal);
  }
}

/** What one event says; throws the error that ends all. */
function read(event: ServerSentEvent): ReplyEvent | Missed {
  let data: unknown;
  try {
    data = JSON.parse(event.data);
  } catch {
    throw badAnswer(event.data);
  }
  if (!isObject(data)) throw badAnswer(data);
  if (event.event === "end") throw toError(data["error"]);
  if (event.event === "missed") return new Missed(typeof data["missed"] === "number" ? data["missed"] : null);
  const reply = outcome(data);
  if (reply instanceof StepaheadError || !isObject(data["item"])) throw badAnswer(data);
  return { ...(reply as ReplyEvent), id: event.lastId };
}

/** One answer that goes on until a side ends it. */
class Connection {
  readonly #http: Http;
  readonly #signal: AbortSignal;
  readonly #end = new AbortController();
  readonly #abort = (): void => this.#end.abort(this.#signal.reason);

  constructor(http: Http, signal: AbortSignal) {
    this.#http = http;
    this.#signal = signal;
    if (signal.aborted) this.#abort();
    signal.addEventListener("abort", this.#abort, { once: true });
  }

  /** @throws StepaheadError - If it was refused, is not what was asked for, or did not begin in time. */
  async open(target: string, streams: readonly string[] | undefined, lastId: string): Promise<AsyncGenerator<string>> {
    const headers = this.#http.headers(MEDIA_TYPE);
    if (lastId !== "") headers["Last-Event-ID"] = lastId;
    const response = await this.#http.open(target, { stream: streams }, headers, this.#end.signal);
    const type = response.headers.get("content-type") ?? "";
    if (!type.startsWith(MEDIA_TYPE) || response.body === null) {
      throw new BadAnswer(`the events come as ${JSON.stringify(type)}: some other server answers here`);
    }
    return this.#read(response.body.getReader());
  }

  close(): void {
    this.#signal.removeEventListener("abort", this.#abort);
    this.#end.abort();
  }

  /** The answer's text, piece by piece; it never ends but with an error. */
  async *#read(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    for (;;) {
      const late = setTimeout(() => this.#end.abort(new Error(`silent for ${SILENCE_MS} milliseconds`)), SILENCE_MS);
      try {
        const { value, done } = await reader.read();
        if (done) throw new NoAnswer("the events broke off");
        yield decoder.decode(value, { stream: true });
      } catch (error) {
        throw error instanceof StepaheadError ? error : this.#http.noAnswer(error);
      } finally {
        clearTimeout(late);
      }
    }
  }
}
