/**
 * Everything a call can throw besides `TypeError` and `RangeError` for bad arguments, and an abort signal's reason.
 *
 * ```
 * StepaheadError
 * ├── NoAnswer                               the request or its answer was lost      retried
 * ├── BadAnswer                              something answered, but not in the contract's form
 * ├── UnknownModel, UnknownStream            404
 * ├── UnknownSnapshot                        404
 * ├── ModelExists                            409  another spec
 * ├── StreamExists                           409
 * ├── SequenceError                          409  carries expected and received
 * │   ├── SequenceGap                             an item before this one is missing
 * │   ├── SequenceStale                           applied long ago; its reply is no longer kept
 * │   └── SequenceTaken                           other writers took the numbers; thrown by the client itself
 * ├── InvalidItem, InvalidSpec               422
 * ├── InvalidRequest                         422  a path, query or envelope that fits no call
 * ├── BodyTooLarge                           413
 * ├── Unauthorized                           401
 * ├── ForbiddenOrigin                        403  a page of an origin that the service does not allow
 * ├── SlowReader                             408  replies were not read for too long       retried
 * ├── Overloaded                             429                                     retried
 * └── Unavailable                            502, 503, 504                           retried
 *     ├── StoreUnavailable
 *     └── Draining
 * ```
 *
 * A code that this version does not know becomes the class of its status, else `StepaheadError` itself.
 */

/** What an error carries beside its message. */
export interface ErrorDetails {
  code?: string | undefined;
  status?: number | undefined;
  requestId?: string | undefined;
  retryAfterS?: number | undefined;
  data?: Readonly<Record<string, unknown>> | undefined;
  cause?: unknown;
}

/** Base of all errors of this package. */
export class StepaheadError extends Error {
  /** The contract's code of the class. */
  static readonly code: string = "error";
  /** Whether the same call may work later; every call of this package is safe to send again. */
  static readonly retried: boolean = false;
  /** Whether the call may have been done all the same. */
  static readonly outcomeUnknown: boolean = false;

  /** The contract's code. */
  readonly code: string;
  /** Of the HTTP answer; `undefined` when there was none, or when one item of many was refused. */
  readonly status: number | undefined;
  /** What the server's log calls this request. */
  readonly requestId: string | undefined;
  /** Seconds the server asks to wait; `undefined` when it does not ask. */
  readonly retryAfterS: number | undefined;
  /** What else the error carries, such as `expected` and `received`. */
  readonly data: Record<string, unknown>;
  readonly retried: boolean;
  /** Whether the call may have been done all the same. */
  outcomeUnknown: boolean;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    const kind = new.target as typeof StepaheadError;
    this.name = kind.name;
    this.code = details.code ?? kind.code;
    this.status = details.status;
    this.requestId = details.requestId;
    this.retryAfterS = details.retryAfterS;
    this.data = { ...details.data };
    this.retried = kind.retried;
    this.outcomeUnknown = kind.outcomeUnknown;
  }
}

/** The request or its answer was lost: refused, broken or timed out. Whether it was done is unknown. */
export class NoAnswer extends StepaheadError {
  static override readonly code = "no_answer";
  static override readonly retried = true;
  static override readonly outcomeUnknown = true;
}

/** Something answered, but not in the contract's form: perhaps no stepahead server lives at this address. */
export class BadAnswer extends StepaheadError {
  static override readonly code = "bad_answer";
}

/** No model of that name. */
export class UnknownModel extends StepaheadError {
  static override readonly code = "unknown_model";
}

/** The model has no such stream. */
export class UnknownStream extends StepaheadError {
  static override readonly code = "unknown_stream";
}

/** No snapshot of that id is kept. */
export class UnknownSnapshot extends StepaheadError {
  static override readonly code = "unknown_snapshot";
}

/** A model of that name has another spec. */
export class ModelExists extends StepaheadError {
  static override readonly code = "model_exists";
}

/** The model has a stream of that name already. */
export class StreamExists extends StepaheadError {
  static override readonly code = "stream_exists";
}

/** The item's sequence is not the stream's next one; nothing was changed. */
export class SequenceError extends StepaheadError {
  static override readonly code: string = "sequence_error";

  /** The sequence that the stream waits for; `undefined` where that is not known. */
  get expected(): number | undefined {
    return integer(this.data["expected"]);
  }

  /** The sequence that was sent. */
  get received(): number | undefined {
    return integer(this.data["received"]);
  }
}

/** An item before this one is missing. */
export class SequenceGap extends SequenceError {
  static override readonly code = "sequence_gap";
}

/** The item was applied long ago and its reply is no longer kept. */
export class SequenceStale extends SequenceError {
  static override readonly code = "sequence_stale";
}

/** Other writers of the stream took the numbers that this client gave the item; the item was not applied. */
export class SequenceTaken extends SequenceError {
  static override readonly code = "sequence_taken";
}

/** The item does not fit the model's fields; nothing was changed. */
export class InvalidItem extends StepaheadError {
  static override readonly code = "invalid_item";
}

/** The model spec is malformed or out of bounds. */
export class InvalidSpec extends StepaheadError {
  static override readonly code = "invalid_spec";
}

/** The path, the query or the envelope of the body fits no call. */
export class InvalidRequest extends StepaheadError {
  static override readonly code = "invalid_request";
}

/** The request body or frame is over the server's limit; send fewer items at once. */
export class BodyTooLarge extends StepaheadError {
  static override readonly code = "body_too_large";
}

/** No valid API key was sent. */
export class Unauthorized extends StepaheadError {
  static override readonly code = "unauthorized";
}

/** The page's origin is not one that the service allows. */
export class ForbiddenOrigin extends StepaheadError {
  static override readonly code = "forbidden_origin";
}

/** The server ended the connection, as its answers were not read for too long. */
export class SlowReader extends StepaheadError {
  static override readonly code = "slow_reader";
  static override readonly retried = true;
  static override readonly outcomeUnknown = true;
}

/** A bound of the server was reached; the item was not accepted. */
export class Overloaded extends StepaheadError {
  static override readonly code = "overloaded";
  static override readonly retried = true;
}

/** The service cannot do this now. Whether an item was applied is unknown until it is sent again. */
export class Unavailable extends StepaheadError {
  static override readonly code: string = "unavailable";
  static override readonly retried = true;
  static override readonly outcomeUnknown = true;
}

/** The service's store did not answer in time, or refused. */
export class StoreUnavailable extends Unavailable {
  static override readonly code = "store_unavailable";
}

/** The service is shutting down and takes no new items. */
export class Draining extends Unavailable {
  static override readonly code = "draining";
}

const CLASSES: readonly (typeof StepaheadError)[] = [
  StepaheadError,
  NoAnswer,
  BadAnswer,
  UnknownModel,
  UnknownStream,
  UnknownSnapshot,
  ModelExists,
  StreamExists,
  SequenceError,
  SequenceGap,
  SequenceStale,
  SequenceTaken,
  InvalidItem,
  InvalidSpec,
  InvalidRequest,
  BodyTooLarge,
  Unauthorized,
  ForbiddenOrigin,
  SlowReader,
  Overloaded,
  Unavailable,
  StoreUnavailable,
  Draining,
];
const BY_CODE = new Map(CLASSES.map((kind) => [kind.code, kind]));
const BY_STATUS = new Map<number | undefined, typeof StepaheadError>([
  [401, Unauthorized],
  [413, BodyTooLarge],
  [429, Overloaded],
  [502, Unavailable],
  [503, Unavailable],
  [504, Unavailable],
]);

/** The class of a contract code, else of an HTTP status, else the base. */
export function errorClass(code: string | undefined, status?: number): typeof StepaheadError {
  return BY_CODE.get(code ?? "") ?? BY_STATUS.get(status) ?? StepaheadError;
}

function integer(value: unknown): number | undefined {
  return Number.isInteger(value) ? (value as number) : undefined;
}
