/** The words of the API, as types; what is answered is given as the service wrote it. */

import type { components } from "./openapi.js";

type Schemas = components["schemas"];

export type Reply = Schemas["Reply"];
export type Score = Schemas["Score"];
export type RealScore = Schemas["RealScore"];
export type CategoryScore = Schemas["CategoryScore"];
export type Drift = Schemas["Drift"];
export type Prediction = Schemas["Prediction"];
export type RealPrediction = Schemas["RealPrediction"];
export type CategoryPrediction = Schemas["CategoryPrediction"];
export type Forecast = Schemas["Forecasts"];
export type StreamSummary = Schemas["StreamSummary"];
export type Belief = Schemas["BeliefView"];
export type ModelInfo = Schemas["ModelInfo"];
export type StreamSnapshot = Schemas["StreamSnapshotInfo"];
export type Health = Schemas["Health"];
export type FieldIn = Schemas["FieldIn"];

/** One past item of a stream, the prediction that awaited it, and what that scored. */
export type HistoryEntry = Schemas["HistoryItem"];

/** The rest of a model's spec beside its fields; absent parts take the service's defaults. */
export type Spec = Partial<Omit<Schemas["ModelSpecIn"], "fields" | "learn">> & { learn?: Partial<Schemas["LearnIn"]> };

/** What may change while a model runs. */
export type SpecChanges = Partial<Omit<Schemas["ModelPatchIn"], "learn">> & {
  learn?: Partial<Schemas["LearnIn"]> | null;
};

/** `"real"`, a category's values, or the rest of a field's spec, such as `{ capacity: 100 }`. */
export type FieldKind = "real" | readonly string[] | Readonly<Partial<Omit<FieldIn, "name">>>;

/** Field name to number, text, or `null` for a missing value. */
export type Item = Readonly<Record<string, number | string | null>>;

/** When an item was measured: a `Date`, or ISO 8601. */
export type Timestamp = Date | string;

/** One item of one stream. */
export interface Row {
  readonly stream: string;
  readonly item: Item;
  readonly timestamp?: Timestamp | null;
  /** Its position in the stream, from 1; without it the row is numbered on its stream's last item. */
  readonly sequence?: number | null;
}

/** A row, or just its stream and item. */
export type RowLike = Row | readonly [stream: string, item: Item];

/** A reply as it was made, to whoever sent the item, with the item that it answers. */
export interface ReplyEvent extends Reply {
  item: Item;
  /** When it was measured; `null` where its sender did not say. */
  timestamp: string | null;
  /** Its place among the model's events: `events({ after })` goes on after it. */
  id: string;
}

/** Stands in the place of events that a reader did not get: it fell behind, or was away for too long. */
export class Missed {
  /** How many; `null` where the service cannot tell. */
  readonly count: number | null;

  constructor(count: number | null) {
    this.count = count;
  }
}

/** Prediction of a real field, if the field is one and has been seen; else `undefined`. */
export function real(prediction: Schemas["Forecast"], field: string): RealPrediction | undefined {
  const found = prediction.fields[field];
  return found && "mean" in found ? found : undefined;
}

/** Prediction of a category, if the field is one; else `undefined`. */
export function category(prediction: Schemas["Forecast"], field: string): CategoryPrediction | undefined {
  const found = prediction.fields[field];
  return found && "probabilities" in found ? found : undefined;
}
