/** Between JavaScript values and the contract's JSON: no I/O, no state. */

import { BadAnswer, errorClass, StepaheadError } from "./errors.js";
import type { FieldIn, FieldKind, Item, Reply, Timestamp } from "./types.js";

/**
 * A path below `/v1` of any texts, percent-encoded.
 *
 * @throws TypeError - If a part is no text, empty, has a `/`, or is `.` or `..`: it would name something else.
 */
export function path(...parts: readonly string[]): string {
  return "/v1" + parts.map((part) => "/" + encode(part)).join("");
}

function encode(part: string): string {
  if (typeof part !== "string" || part === "" || part === "." || part === ".." || part.includes("/")) {
    throw new TypeError(`${JSON.stringify(part)} cannot name anything: text without '/', and neither '.' nor '..'`);
  }
  try {
    return encodeURIComponent(part);
  } catch (cause) {
    throw new TypeError(`${JSON.stringify(part)} cannot name anything: half of a surrogate pair is no text`, { cause });
  }
}

/**
 * A model's fields as the contract has them.
 *
 * @throws TypeError - If a field is neither `"real"`, nor values, nor the rest of a field's spec.
 */
export function fieldsToWire(fields: Readonly<Record<string, FieldKind>>): Partial<FieldIn>[] {
  return Object.entries(fields).map(([name, kind]) => {
    if (kind === "real") return { name, kind: "real" };
    if (Array.isArray(kind)) return { name, kind: "category", values: [...(kind as readonly string[])] };
    if (typeof kind === "object" && kind !== null) {
      const isCategory = "values" in kind || "capacity" in kind;
      return { name, kind: isCategory ? "category" : "real", ...kind } as Partial<FieldIn>;
    }
    throw new TypeError(
      `field ${JSON.stringify(name)}: ${JSON.stringify(kind)} is no kind; give "real", a list of values, ` +
        "or { capacity: N } for a category whose values are not known beforehand",
    );
  });
}

/**
 * An item as plain JSON values.
 *
 * @throws RangeError - If a number is NaN or infinite; `null` is what stands for a missing value.
 * @throws TypeError - If a value is neither a number, a text nor `null`.
 */
export function itemToWire(item: Item): Record<string, number | string | boolean | null> {
  if (typeof item !== "object" || item === null || Array.isArray(item)) {
    throw new TypeError("an item is an object of field names and values");
  }
  return Object.fromEntries(Object.entries(item).map(([name, value]) => [name, valueToWire(name, value)]));
}

function valueToWire(name: string, value: unknown): number | string | boolean | null {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value !== "number") {
    throw new TypeError(`field ${JSON.stringify(name)} takes a number, a text or null, got ${typeof value}`);
  }
  if (!Number.isFinite(value)) {
    // JSON.stringify would make it null: a missing value, without a word.
    throw new RangeError(
      `field ${JSON.stringify(name)} is ${value}: NaN and infinities are refused; null stands for a missing value`,
    );
  }
  return value;
}

/**
 * A time as ISO 8601; a text is sent as it is.
 *
 * @throws RangeError - If a `Date` shows no time.
 */
export function timestampToWire(timestamp: Timestamp | null | undefined): string | null {
  if (timestamp instanceof Date) return timestamp.toISOString();
  if (timestamp === null || timestamp === undefined || typeof timestamp === "string") return timestamp ?? null;
  throw new TypeError(`a timestamp is a Date or an ISO 8601 text, got ${typeof timestamp}`);
}

/**
 * A sequence that the caller gave.
 *
 * @throws RangeError - If it is no whole number from 1, or over 2^53 - 1, beyond which numbers are not exact.
 */
export function sequenceToWire(sequence: number | null | undefined): number | null {
  if (sequence === null || sequence === undefined) return null;
  if (!Number.isSafeInteger(sequence) || sequence < 1) {
    throw new RangeError(`a sequence is a whole number from 1 to 2^53 - 1, got ${String(sequence)}`);
  }
  return sequence;
}

/** Whether a value is an object with keys. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The contract's error object as an error of this package; one that is an error already stays as it is. */
export function toError(data: unknown, status?: number, retryAfterS?: number): StepaheadError {
  if (data instanceof StepaheadError) return data;
  const { code, message, request_id, retry_after_s, ...rest } = isObject(data) ? data : {};
  const named = typeof code === "string" ? code : undefined;
  const kind = errorClass(named, status);
  return new kind(typeof message === "string" ? message : (named ?? "an error without words"), {
    code: named,
    status,
    requestId: typeof request_id === "string" ? request_id : undefined,
    retryAfterS: retryAfterS ?? (typeof retry_after_s === "number" ? retry_after_s : undefined),
    data: rest,
  });
}

/**
 * What came of one item: its reply, or its error.
 *
 * @throws BadAnswer - If it is neither.
 */
export function outcome(value: unknown): Reply | StepaheadError {
  if (isObject(value) && "error" in value) return toError(value["error"]);
  if (
    isObject(value) &&
    typeof value["stream"] === "string" &&
    typeof value["sequence"] === "number" &&
    isObject(value["prediction"])
  ) {
    return value as unknown as Reply;
  }
  throw badAnswer(value);
}

/** The error of an answer that is not in the contract's form. */
export function badAnswer(value: unknown): BadAnswer {
  const shown = typeof value === "string" ? value : (JSON.stringify(value) ?? "nothing");
  return new BadAnswer(`the answer is not in the contract's form: ${shown.slice(0, 80)}`);
}

/** The key as a WebSocket subprotocol, which is all that a browser can send with a handshake. */
export function keyProtocol(apiKey: string): string {
  const bytes = new TextEncoder().encode(apiKey);
  const base64 = btoa(String.fromCharCode(...bytes));
  return "stepahead.key." + base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
