/** A handle on one stream of a model. */

import type { CallOptions } from "./client.js";
import { StreamExists } from "./errors.js";
import type { Call, Http } from "./http.js";
import type { Numbering } from "./numbering.js";
import type { Belief, Forecast, HistoryEntry, Item, Reply, StreamSnapshot, StreamSummary, Timestamp } from "./types.js";
import { badAnswer, isObject, itemToWire, path, sequenceToWire, timestampToWire } from "./wire.js";

export interface ObserveOptions extends CallOptions {
  /** When it was measured. */
  timestamp?: Timestamp | null;
  /** Its position in the stream, from 1; the one after the last if absent. */
  sequence?: number | null;
  /** Whether the prediction says what each expert and the network alone said of a field, under `experts`. */
  experts?: boolean;
}

export interface PredictOptions extends CallOptions {
  /** Items to predict ahead. */
  horizon?: number;
  /** Whether the first step says what each expert and the network alone said of a field. */
  experts?: boolean;
}

/**
 * One stream of a model; made by `model.stream(id)`.
 *
 * It begins with its first item: until then all but `observe` throw `UnknownStream`.
 */
export class Stream {
  readonly model: string;
  readonly stream: string;
  readonly #http: Http;
  readonly #numbering: Numbering;

  constructor(http: Http, numbering: Numbering, model: string, stream: string) {
    this.model = model;
    this.stream = stream;
    this.#http = http;
    this.#numbering = numbering;
  }

  /**
   * Observe the stream's next item: score what was predicted of it, learn, and predict the one after.
   *
   * Calls for one stream are sent one after the other, in their order. Whoever numbers items himself can send one again
   * at any time, and gets the same reply.
   *
   * @throws TypeError, RangeError - If a value is neither a number, a text nor `null`, or is NaN or infinite.
   * @throws InvalidItem - If the item does not fit the model.
   * @throws SequenceTaken - If other writers took every number that was tried; the item was not applied.
   * @throws NoAnswer - If no attempt was answered; `error.data.sequence` can be sent again.
   */
  async observe(item: Item, options: ObserveOptions = {}): Promise<Reply> {
    const given = {
      item: itemToWire(item),
      timestamp: timestampToWire(options.timestamp),
      sequence: sequenceToWire(options.sequence),
    };
    return this.#numbering.observe(this.stream, given, options.experts ?? false, options.signal);
  }

  /** Predict the next items; changes nothing. */
  async predict(options: PredictOptions = {}): Promise<Forecast> {
    const { horizon, experts, signal } = options;
    const params = { horizon, experts: experts ? "true" : undefined };
    return (await this.#call("GET", ["prediction"], { params, signal })) as Forecast;
  }

  /** Inspect the belief. */
  async belief(options: CallOptions = {}): Promise<Belief> {
    return (await this.#call("GET", ["belief"], options)) as Belief;
  }

  /** The last items with what was predicted of them and how it scored, oldest first; 20 where no limit is given. */
  async history(options: CallOptions & { limit?: number } = {}): Promise<HistoryEntry[]> {
    const answer = await this.#call("GET", ["history"], {
      params: { limit: options.limit },
      signal: options.signal,
    });
    if (!isObject(answer) || !Array.isArray(answer["items"])) throw badAnswer(answer);
    return answer["items"] as HistoryEntry[];
  }

  /** Where the stream stands and how well it is predicted. */
  async summary(options: CallOptions = {}): Promise<StreamSummary> {
    return (await this.#call("GET", [], options)) as StreamSummary;
  }

  /**
   * Delete the stream; its next item begins it anew.
   *
   * @throws UnknownStream - If there is no such stream.
   */
  async delete(options: CallOptions = {}): Promise<void> {
    await this.#numbering.move(this.stream, () => this.#call("DELETE", [], options));
  }

  /**
   * Create a stream that goes on from where this one is; from then on each learns its own items.
   *
   * @throws StreamExists - If there is one of that name.
   */
  async fork(to: string, options: CallOptions = {}): Promise<Stream> {
    const doubt = { inDoubt: false };
    const call = { body: JSON.stringify({ to }), doubt, ...options };
    try {
      await this.#numbering.move(to, () => this.#call("POST", ["fork"], call));
    } catch (error) {
      if (error instanceof StreamExists) error.outcomeUnknown = doubt.inDoubt; // a lost attempt may have created it
      throw error;
    }
    return new Stream(this.#http, this.#numbering, this.model, to);
  }

  /** Keep what the stream is now, to go back to. */
  async snapshot(name: string | null = null, options: CallOptions = {}): Promise<StreamSnapshot> {
    return (await this.#call("POST", ["snapshots"], { body: JSON.stringify({ name }), ...options })) as StreamSnapshot;
  }

  /** What is kept of the stream, the newest first. */
  async snapshots(options: CallOptions = {}): Promise<StreamSnapshot[]> {
    const answer = await this.#call("GET", ["snapshots"], options);
    if (!isObject(answer) || !Array.isArray(answer["snapshots"])) throw badAnswer(answer);
    return answer["snapshots"] as StreamSnapshot[];
  }

  /**
   * Take the stream back to a snapshot: its next item is the one after the snapshot's.
   *
   * @throws UnknownSnapshot - If it is not kept.
   */
  async restore(snapshot: StreamSnapshot | string, options: CallOptions = {}): Promise<StreamSummary> {
    const restore = (): Promise<unknown> => this.#call("POST", ["snapshots", idOf(snapshot), "restore"], options);
    return (await this.#numbering.move(this.stream, restore)) as StreamSummary;
  }

  /**
   * Delete a snapshot; the stream stays as it is.
   *
   * @throws UnknownSnapshot - If it is not kept.
   */
  async deleteSnapshot(snapshot: StreamSnapshot | string, options: CallOptions = {}): Promise<void> {
    await this.#call("DELETE", ["snapshots", idOf(snapshot)], options);
  }

  #call(
    method: Call["method"],
    below: readonly string[],
    options: Pick<Call, "body" | "doubt" | "params"> & CallOptions,
  ): Promise<unknown> {
    const { signal, ...rest } = options;
    const target = path("models", this.model, "streams", this.stream, ...below);
    return this.#http.call({ ...rest, method, path: target, signal });
  }
}

function idOf(snapshot: StreamSnapshot | string): string {
  return typeof snapshot === "string" ? snapshot : snapshot.id;
}
