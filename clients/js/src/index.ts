/**
 * The client of stepahead for Node and browsers.
 *
 * ```ts
 * const client = new Client("http://127.0.0.1:8000");
 * const model = await client.createModel("boiler", { temperature: "real", state: ["idle", "busy"] });
 * const reply = await model.stream("site-7").observe({ temperature: 61.5, state: "busy" });
 * ```
 *
 * @module
 */

export { type CallOptions, Client, type ClientOptions } from "./client.js";
export {
  BadAnswer,
  BodyTooLarge,
  Draining,
  type ErrorDetails,
  ForbiddenOrigin,
  InvalidItem,
  InvalidRequest,
  InvalidSpec,
  ModelExists,
  NoAnswer,
  Overloaded,
  SequenceError,
  SequenceGap,
  SequenceStale,
  SequenceTaken,
  SlowReader,
  StepaheadError,
  StoreUnavailable,
  StreamExists,
  Unauthorized,
  Unavailable,
  UnknownModel,
  UnknownSnapshot,
  UnknownStream,
} from "./errors.js";
export { Events, type EventsOptions } from "./events.js";
export type { Via } from "./link.js";
export { Model, type ObserveManyOptions } from "./model.js";
export { type ObserveOptions, type PredictOptions, Stream } from "./stream.js";
export * from "./types.js";
