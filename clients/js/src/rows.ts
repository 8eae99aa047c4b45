/** Rows of the caller in the contract's form. */

import { InvalidItem } from "./errors.js";
import type { Observation } from "./lane.js";
import type { Row, RowLike } from "./types.js";
import { itemToWire, sequenceToWire, timestampToWire } from "./wire.js";

/** A row to be sent; the error of one that cannot be. */
export function toObservation(row: RowLike): Observation | InvalidItem {
  try {
    const { stream, item, timestamp, sequence } = isPair(row) ? ({ stream: row[0], item: row[1] } as Row) : row;
    if (typeof stream !== "string" || stream === "") throw new TypeError("a row's stream is a text");
    const wire = { stream, item: itemToWire(item), timestamp: timestampToWire(timestamp) };
    return { stream, json: JSON.stringify(wire).slice(0, -1), sequence: sequenceToWire(sequence) };
  } catch (cause) {
    return new InvalidItem(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function isPair(row: RowLike): row is readonly [string, Row["item"]] {
  return Array.isArray(row);
}
