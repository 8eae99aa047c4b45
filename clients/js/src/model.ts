/** A handle on one model. */

import type { CallOptions } from "./client.js";
import { StepaheadError } from "./errors.js";
import { Events, type EventsOptions } from "./events.js";
import { Feed } from "./feed.js";
import type { Http } from "./http.js";
import type { Ear, Link, Via } from "./link.js";
import { Numbering } from "./numbering.js";
import { Pipeline } from "./pipeline.js";
import { RequestsLink } from "./requests.js";
import { SocketLink } from "./socket.js";
import { Stream } from "./stream.js";
import type { ModelInfo, Reply, RowLike, SpecChanges, StreamSummary } from "./types.js";
import { badAnswer, isObject, path } from "./wire.js";

/** Streams per page of a listing. */
const PAGE = 500;
const DEFAULT_CHUNK = 256;

export interface ObserveManyOptions {
  /** What becomes of a refused row: it is thrown and ends all, or is given in the row's place. */
  errors?: "raise" | "yield";
  /** Most rows of a frame or request. */
  chunk?: number;
  /** Whether predictions say what each expert and the network alone said of a field, under `experts`. */
  experts?: boolean;
  /** Over one WebSocket, or by requests one after the other; by default a WebSocket where one can be had. */
  via?: Via;
  /** Ends it, with the signal's reason; rows that were sent may be applied all the same. */
  signal?: AbortSignal;
}

/** One model of a service; made by `client.model(name)`. */
export class Model {
  readonly name: string;
  readonly #http: Http;
  readonly #numbering: Numbering;
  readonly #socket: typeof globalThis.WebSocket | undefined;

  constructor(http: Http, name: string, socket: typeof globalThis.WebSocket | undefined) {
    this.name = name;
    this.#http = http;
    this.#numbering = new Numbering(http, name);
    this.#socket = socket;
  }

  /**
   * Describe the model.
   *
   * @throws UnknownModel - If there is no such model.
   */
  async info(options: CallOptions = {}): Promise<ModelInfo> {
    const call = { method: "GET", path: path("models", this.name), signal: options.signal } as const;
    return (await this.#http.call(call)) as ModelInfo;
  }

  /**
   * Change `learn`, `learning_rate`, `tails`, `quantiles`, `max_streams` or `ttl_s`; takes effect from the next item on.
   *
   * @throws UnknownModel - If there is no such model.
   * @throws InvalidSpec - If something else is to change, or beyond its bounds.
   */
  async update(changes: SpecChanges, options: CallOptions = {}): Promise<ModelInfo> {
    const body = JSON.stringify(changes);
    const call = { method: "PATCH", path: path("models", this.name), body, signal: options.signal } as const;
    return (await this.#http.call(call)) as ModelInfo;
  }

  /**
   * Delete the model with all its streams.
   *
   * @throws UnknownModel - If there is no such model.
   */
  async delete(options: CallOptions = {}): Promise<void> {
    await this.#http.call({ method: "DELETE", path: path("models", this.name), signal: options.signal });
  }

  /** A handle on a stream, which begins with its first item; asks nothing of the service. */
  stream(stream: string): Stream {
    return new Stream(this.#http, this.#numbering, this.name, stream);
  }

  /**
   * Summarise every stream, by name; read page by page.
   *
   * @throws UnknownModel - If there is no such model.
   */
  async *streams(options: CallOptions = {}): AsyncGenerator<StreamSummary, void, undefined> {
    let cursor: string | undefined;
    do {
      const params = { limit: PAGE, cursor };
      const target = path("models", this.name, "streams");
      const answer = await this.#http.call({ method: "GET", path: target, params, signal: options.signal });
      if (!isObject(answer) || !Array.isArray(answer["streams"])) throw badAnswer(answer);
      yield* answer["streams"] as StreamSummary[];
      cursor = typeof answer["cursor"] === "string" ? answer["cursor"] : undefined;
    } while (cursor !== undefined);
  }

  /**
   * Observe many items of any number of streams, and give the replies in the same order.
   *
   * Rows are read as far ahead as the service takes them in, and what was read is sent at once: a slow source gets its
   * replies as they come. After a break everything without an answer is sent again under its number, so that no item is
   * learned twice and none is left out.
   *
   * @throws SequenceTaken - If another writer took a row's number while later rows of its stream were applied.
   * @throws StepaheadError - If a row was refused, or nothing can be sent any more; what became of the rows without
   *   a reply is then unknown.
   */
  observeMany(
    rows: Iterable<RowLike> | AsyncIterable<RowLike>,
    options: ObserveManyOptions & { errors: "yield" },
  ): AsyncGenerator<Reply | StepaheadError, void, undefined>;
  observeMany(
    rows: Iterable<RowLike> | AsyncIterable<RowLike>,
    options?: ObserveManyOptions & { errors?: "raise" },
  ): AsyncGenerator<Reply, void, undefined>;
  observeMany(
    rows: Iterable<RowLike> | AsyncIterable<RowLike>,
    options?: ObserveManyOptions,
  ): AsyncGenerator<Reply | StepaheadError, void, undefined>;
  async *observeMany(
    rows: Iterable<RowLike> | AsyncIterable<RowLike>,
    options: ObserveManyOptions = {},
  ): AsyncGenerator<Reply | StepaheadError, void, undefined> {
    const { errors = "raise", chunk = DEFAULT_CHUNK, experts = false, signal } = options;
    const { via = this.#socket === undefined ? "requests" : "websocket" } = options;
    if (!Number.isInteger(chunk) || chunk < 1) throw new RangeError(`chunk is a whole number from 1, got ${chunk}`);
    const socket = this.#socket;
    if (via === "websocket" && socket === undefined) {
      throw new TypeError("there is no WebSocket here: give one to the client, or observe via requests");
    }
    const { policy } = this.#http;
    const requests = (ear: Ear): Link => new RequestsLink(this.#http, this.name, experts, ear);
    const maxFrames = via === "websocket" ? Infinity : 1;
    const name = Array.from({ length: 4 }, () => Math.random().toString(36).slice(2, 10)).join("");
    const feed = new Feed({
      pipeline: new Pipeline({ policy, errors, chunk, maxFrames, random: Math.random }),
      rows,
      policy,
      chunk,
      signal,
      connect:
        via === "websocket" && socket !== undefined
          ? (ear) => new SocketLink(this.#http, this.name, name, experts, socket, ear)
          : requests,
      connectOtherwise: options.via === undefined ? requests : undefined,
    });
    try {
      for (let found = await feed.next(); found !== undefined; found = await feed.next()) {
        if (found instanceof StepaheadError && errors === "raise") throw found;
        yield found;
      }
    } finally {
      await feed.close();
    }
  }

  /**
   * Follow the model: every reply as it is made, whoever sent the item, with that item.
   *
   * Gives `Missed` in the place of events that were missed: a slow reader holds nobody up. A lost connection is sought
   * again as often in a row as a call is, and goes on where it was.
   */
  events(options: EventsOptions = {}): Events {
    return new Events(this.#http, this.name, options);
  }
}
