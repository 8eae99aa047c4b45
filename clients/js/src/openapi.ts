// Written by `npm run openapi` from the service's OpenAPI document; not to be changed by hand.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * BeliefView
         * @description A belief, laid open; lists run over layers, then hidden units.
         */
        BeliefView: {
            /** Stream */
            stream: string;
            /**
             * Sequence
             * @description Of the last applied item.
             */
            sequence: number;
            /**
             * Hidden
             * @description Hidden state.
             */
            hidden: number[][];
            /**
             * Cell
             * @description Cell state; `null` for a cell that has none.
             */
            cell: number[][] | null;
            /**
             * Gates
             * @description Gates of the last advance, by name.
             */
            gates: {
                [key: string]: number[][];
            };
            /**
             * Correction
             * @description What the last item's error added to the state.
             */
            correction: number[][];
            /**
             * Correction Rates
             * @description How far each unit follows its gradient.
             */
            correction_rates: number[][];
            /**
             * Correction Trust
             * @description Share of the corrections' effect that the prediction takes, 0 to 1.
             */
            correction_trust: number;
            /**
             * Experts
             * @description For each field what each expert and the network say of the next item (`forecast`; of a category `top` and `probabilities`), and its share in the mix (`weight`).
             */
            experts: {
                [key: string]: {
                    [key: string]: unknown;
                };
            };
            /**
             * Before
             * @description The item decoded from the belief as it was before the correction.
             */
            before: {
                [key: string]: unknown;
            };
            /**
             * After
             * @description The item decoded from the corrected belief.
             */
            after: {
                [key: string]: unknown;
            };
        } & {
            [key: string]: unknown;
        };
        /**
         * CategoryExpert
         * @description What one expert said of a category.
         */
        CategoryExpert: {
            /**
             * Weight
             * @description Its share in the mix; those of all experts add up to 1.
             */
            weight: number;
            /** Top */
            top: string | null;
            /** Probabilities */
            probabilities: {
                [key: string]: number;
            };
        };
        /**
         * CategoryPrediction
         * @description The distribution predicted for a category.
         */
        CategoryPrediction: {
            /**
             * Top
             * @description The most likely value; `null` before any is known.
             */
            top: string | null;
            /**
             * Probabilities
             * @description Of the most likely ten values.
             */
            probabilities: {
                [key: string]: number;
            };
            /**
             * Experts
             * @description By name, `network` among them; there only with `experts=true`.
             */
            experts?: {
                [key: string]: components["schemas"]["CategoryExpert"];
            } | null;
        };
        /**
         * CategoryScore
         * @description How good the prediction of a category was.
         */
        CategoryScore: {
            /**
             * Nll
             * @description Negative log likelihood of the observed value, in nats.
             */
            nll: number;
            /**
             * Rank
             * @description The observed value's rank among the predicted ones; 1 if it was the most likely.
             */
            rank: number;
        };
        /**
         * Drift
         * @description Whether the stream's predictions have become worse than they used to be, lastingly; after this item.
         */
        Drift: {
            /**
             * Drifting
             * @description Begins at `level` 1, ends once the level has stayed below .25 for 20 items.
             */
            drifting: boolean;
            /**
             * Level
             * @description How near the nearest field is to drift: 0 for not at all, 1 for drift, at most 2.
             */
            level: number;
            /**
             * Fields
             * @description Those that drift.
             */
            fields: string[];
        };
        /**
         * ErrorDetail
         * @description What went wrong; some codes carry more, such as `expected` and `received` of `sequence_gap`.
         */
        ErrorDetail: {
            /**
             * Code
             * @example sequence_gap
             */
            code: string;
            /**
             * Message
             * @description For people.
             * @example stream 'site-7' expects item 17, got 19
             */
            message: string;
            /**
             * Request Id
             * @description Also in the `X-Request-ID` header and in the service's log.
             */
            request_id: string;
            /**
             * Retry After S
             * @description Seconds after which the same call, or the same item of a request of many, may work; only with `overloaded`, `store_unavailable` and `draining`; of a whole request also as `Retry-After`.
             */
            retry_after_s?: number | null;
        } & {
            [key: string]: unknown;
        };
        /**
         * ErrorReply
         * @description The answer to a call that failed.
         */
        ErrorReply: {
            error: components["schemas"]["ErrorDetail"];
        };
        /**
         * FieldIn
         * @description One named field of an item.
         */
        FieldIn: {
            /**
             * Name
             * @description Its key in an item: printable text.
             * @example load
             */
            name: string;
            /**
             * Kind
             * @description `real` for a number, `category` for one of a set of texts.
             * @default real
             * @enum {string}
             */
            kind: "real" | "category";
            /**
             * Values
             * @description A category's values.
             * @example [
             *       "idle",
             *       "busy"
             *     ]
             */
            values?: string[] | null;
            /**
             * Capacity
             * @description Instead of `values`: how many distinct values an open vocabulary may grow to.
             */
            capacity?: number | null;
        };
        /**
         * Forecast
         * @description One predicted item.
         */
        Forecast: {
            /**
             * Sequence
             * @description The position of the predicted item.
             */
            sequence: number;
            /**
             * Fields
             * @description By field; `null` for a real field that was never seen.
             */
            fields: {
                [key: string]: components["schemas"]["RealPrediction"] | components["schemas"]["CategoryPrediction"] | null;
            };
        };
        /**
         * Forecasts
         * @description Predictions of several items ahead.
         * @example {
         *       "sequence": 18,
         *       "steps": [
         *         {
         *           "fields": {
         *             "load": {
         *               "mean": 3.1,
         *               "quantiles": {
         *                 "0.05": 2.3,
         *                 "0.5": 3.1,
         *                 "0.95": 4
         *               },
         *               "std": 0.5
         *             },
         *             "state": {
         *               "probabilities": {
         *                 "busy": 0.1,
         *                 "idle": 0.9
         *               },
         *               "top": "idle"
         *             }
         *           },
         *           "sequence": 18
         *         }
         *       ],
         *       "stream": "site-7"
         *     }
         */
        Forecasts: {
            /** Stream */
            stream: string;
            /**
             * Sequence
             * @description Of the first predicted item.
             */
            sequence: number;
            /** Steps */
            steps: components["schemas"]["Forecast"][];
        };
        /**
         * ForkIn
         * @description Which stream a fork becomes.
         */
        ForkIn: {
            /**
             * To
             * @description A stream's name: printable text without `/`.
             * @example site-7
             */
            to: string;
        };
        /**
         * Health
         * @description The service answers.
         */
        Health: {
            /**
             * Status
             * @example ok
             */
            status: string;
        };
        /**
         * History
         * @description A stream's last items, oldest first.
         * @example {
         *       "items": [
         *         {
         *           "item": {
         *             "load": 3.2,
         *             "state": "busy"
         *           },
         *           "prediction": {
         *             "fields": {
         *               "load": {
         *                 "mean": 3.1,
         *                 "quantiles": {
         *                   "0.05": 2.3,
         *                   "0.5": 3.1,
         *                   "0.95": 4
         *                 },
         *                 "std": 0.5
         *               },
         *               "state": {
         *                 "probabilities": {
         *                   "busy": 0.1,
         *                   "idle": 0.9
         *                 },
         *                 "top": "idle"
         *               }
         *             },
         *             "sequence": 18,
         *             "weights_version": 812
         *           },
         *           "score": {
         *             "anomaly": 0.12,
         *             "drift": {
         *               "drifting": false,
         *               "fields": [],
         *               "level": 0.04
         *             },
         *             "fields": {
         *               "load": {
         *                 "covered": true,
         *                 "crps": 0.21,
         *                 "error": 0.4
         *               },
         *               "state": {
         *                 "nll": 0.22,
         *                 "rank": 1
         *               }
         *             },
         *             "nll": 1.31
         *           },
         *           "sequence": 18,
         *           "timestamp": "2026-01-01T10:00:00Z"
         *         }
         *       ],
         *       "sequence": 18,
         *       "stream": "site-7"
         *     }
         */
        History: {
            /** Stream */
            stream: string;
            /**
             * Sequence
             * @description Of the last applied item.
             */
            sequence: number;
            /**
             * Items
             * @description Those that are kept; none right after a fork or an import.
             */
            items: components["schemas"]["HistoryItem"][];
        };
        /**
         * HistoryItem
         * @description An item, what had been predicted, and how good that was.
         */
        HistoryItem: {
            /** Sequence */
            sequence: number;
            /**
             * Item
             * @description The observed values by field; `null` where one was missing.
             */
            item: {
                [key: string]: number | string | null;
            };
            /**
             * Timestamp
             * @description When it was; `null` if that was not told.
             */
            timestamp: string | null;
            /** @description That awaited this very item, without what experts said; `null` where it is not kept. */
            prediction: components["schemas"]["Prediction"] | null;
            /** @description Of that prediction; `null` for a stream's first item. */
            score: components["schemas"]["Score"] | null;
        };
        /**
         * LearnIn
         * @description What an item changes.
         */
        LearnIn: {
            /**
             * Weights
             * @description The model's shared weights.
             * @default true
             */
            weights: boolean;
            /**
             * State
             * @description The stream's carried state.
             * @default true
             */
            state: boolean;
            /**
             * Initial State
             * @description The state that new streams start in.
             * @default true
             */
            initial_state: boolean;
        };
        /**
         * ModelInfo
         * @description A model.
         */
        ModelInfo: {
            /**
             * Name
             * @example boiler
             */
            name: string;
            /**
             * Spec
             * @description As it is now, all defaults filled in.
             */
            spec: {
                [key: string]: unknown;
            };
            /**
             * Streams
             * @description How many it has; one that has just expired may still be counted.
             */
            streams: number;
            /**
             * Weights Version
             * @description Weight updates so far; `null` until it is used after a start.
             */
            weights_version: number | null;
            /**
             * Created At
             * @example 2026-01-01T10:00:00Z
             */
            created_at: string;
        };
        /**
         * ModelPatchIn
         * @description What may change while a model runs; what is absent stays.
         */
        ModelPatchIn: {
            /** @description What an item changes; parts that are absent stay. */
            learn?: components["schemas"]["LearnIn"] | null;
            /**
             * Learning Rate
             * @description Step size of the weights' optimiser, in (0, 1]; `null` for the default schedule.
             */
            learning_rate?: number | null;
            /**
             * Tails
             * @description The shape of a real field's distribution: `normal`, or `student` for Student's t wherever its tails have lately fitted the stream better. Quantiles follow the stream under both.
             */
            tails?: ("normal" | "student") | null;
            /**
             * Quantiles
             * @description Levels that a real field's prediction reports, rising, each in (0, 1).
             */
            quantiles?: number[] | null;
            /**
             * Max Streams
             * @description Most streams at once; an item of one more is answered `overloaded`. `null` for no bound.
             */
            max_streams?: number | null;
            /**
             * Ttl S
             * @description Seconds after its last item at which a stream is forgotten, at least 1; `null` for never.
             */
            ttl_s?: number | null;
        };
        /**
         * ModelSnapshotInfo
         * @description A snapshot of all that a model has learned; where its description is damaged only `id` is known.
         */
        ModelSnapshotInfo: {
            /**
             * Id
             * @example 5f0c9b1d2e3a4b6c
             */
            id: string;
            /**
             * Name
             * @description As it was given; `null` for none.
             * @example before the outage
             */
            name: string | null;
            /**
             * Weights Version
             * @description Weight updates that it holds.
             */
            weights_version: number | null;
            /**
             * Bytes
             * @description What it takes in the store.
             */
            bytes: number | null;
            /**
             * Created At
             * @example 2026-01-01T10:00:00Z
             */
            created_at: string | null;
        };
        /**
         * ModelSnapshots
         * @description A model's snapshots, the newest first.
         */
        ModelSnapshots: {
            /** Snapshots */
            snapshots: components["schemas"]["ModelSnapshotInfo"][];
        };
        /**
         * ModelSpecIn
         * @description What a model is; only `fields` is required.
         * @example {
         *       "fields": [
         *         {
         *           "kind": "real",
         *           "name": "load"
         *         },
         *         {
         *           "kind": "category",
         *           "name": "state",
         *           "values": [
         *             "idle",
         *             "busy"
         *           ]
         *         }
         *       ]
         *     }
         */
        ModelSpecIn: {
            /**
             * Fields
             * @description What an item is: 1 to 64 fields, each name once.
             */
            fields: components["schemas"]["FieldIn"][];
            /**
             * Cell
             * @description The recurrent cell.
             * @default lstm
             * @enum {string}
             */
            cell: "lstm" | "gru" | "rnn" | "fused";
            /**
             * Hidden
             * @description Units per layer.
             * @default 64
             */
            hidden: number;
            /**
             * Layers
             * @description Stacked cells.
             * @default 1
             */
            layers: number;
            /**
             * Window
             * @description Items that the weight gradient reaches back.
             * @default 4
             */
            window: number;
            /**
             * Learning Rate
             * @description Step size of the weights' optimiser, in (0, 1]; `null` for the default schedule.
             */
            learning_rate?: number | null;
            /**
             * Seed
             * @description Seed of the initial weights.
             * @default 0
             */
            seed: number;
            /**
             * @default {
             *       "weights": true,
             *       "state": true,
             *       "initial_state": true
             *     }
             */
            learn: components["schemas"]["LearnIn"];
            /**
             * Experts
             * @description What predicts beside the network and is mixed with it by its recent success: `all`, some ten kilobytes per real field of a stream and, for categories, up to 16 megabytes per model; `light`, a quarter of that per real field, without seasons; or `none`.
             * @default all
             * @enum {string}
             */
            experts: "all" | "light" | "none";
            /**
             * Tails
             * @description The shape of a real field's distribution: `normal`, or `student` for Student's t wherever its tails have lately fitted the stream better. Quantiles follow the stream under both.
             * @default student
             * @enum {string}
             */
            tails: "normal" | "student";
            /**
             * Quantiles
             * @description Levels that a real field's prediction reports, rising, each in (0, 1).
             * @default [
             *       0.05,
             *       0.5,
             *       0.95
             *     ]
             */
            quantiles: number[];
            /**
             * Max Streams
             * @description Most streams at once; an item of one more is answered `overloaded`. `null` for no bound.
             */
            max_streams?: number | null;
            /**
             * Ttl S
             * @description Seconds after its last item at which a stream is forgotten, at least 1; `null` for never.
             */
            ttl_s?: number | null;
        };
        /**
         * Models
         * @description All models, in the order of their names.
         */
        Models: {
            /** Models */
            models: components["schemas"]["ModelInfo"][];
        };
        /**
         * ObservationIn
         * @description One item of the stream that the path names.
         * @example {
         *       "item": {
         *         "load": 3.2,
         *         "state": "busy"
         *       }
         *     }
         * @example {
         *       "item": {
         *         "load": 3.2
         *       },
         *       "sequence": 17,
         *       "timestamp": "2026-01-01T10:00:00Z"
         *     }
         */
        ObservationIn: {
            /**
             * Item
             * @description A value for each field: a number for a real one, a text for a category; `null` or absent where it is missing.
             */
            item: {
                [key: string]: number | string | null;
            };
            /**
             * Sequence
             * @description The item's position in its stream, from 1; it makes a resend harmless. Absent: the next one.
             */
            sequence?: number | null;
            /**
             * Timestamp
             * @description When it was, ISO 8601; without a zone it is taken as UTC.
             */
            timestamp?: string | null;
        };
        /**
         * ObservationsIn
         * @description Many items, of any streams; several of one stream are learned in their order.
         */
        ObservationsIn: {
            /**
             * Observations
             * @description Each is checked on its own: a bad one gets an error in its place, the others go on.
             */
            observations: {
                /**
                 * Item
                 * @description A value for each field: a number for a real one, a text for a category; `null` or absent where it is missing.
                 */
                item: {
                    [key: string]: number | string | null;
                };
                /**
                 * Sequence
                 * @description The item's position in its stream, from 1; it makes a resend harmless. Absent: the next one.
                 */
                sequence?: number | null;
                /**
                 * Timestamp
                 * @description When it was, ISO 8601; without a zone it is taken as UTC.
                 */
                timestamp?: string | null;
                /**
                 * Stream
                 * @description A stream's name: printable text without `/`.
                 * @example site-7
                 */
                stream: string;
            }[];
        };
        /**
         * Prediction
         * @description The prediction of the next item.
         */
        Prediction: {
            /**
             * Sequence
             * @description The position of the predicted item.
             */
            sequence: number;
            /**
             * Fields
             * @description By field; `null` for a real field that was never seen.
             */
            fields: {
                [key: string]: components["schemas"]["RealPrediction"] | components["schemas"]["CategoryPrediction"] | null;
            };
            /**
             * Weights Version
             * @description Weight updates that had gone into it.
             */
            weights_version: number;
        };
        /**
         * RealExpert
         * @description What one expert said of a real field.
         */
        RealExpert: {
            /** Mean */
            mean: number;
            /**
             * Weight
             * @description Its share in the mix; those of all experts add up to 1.
             */
            weight: number;
        };
        /**
         * RealPrediction
         * @description The distribution predicted for a real field.
         */
        RealPrediction: {
            /** Mean */
            mean: number;
            /**
             * Std
             * @description Standard deviation.
             */
            std: number;
            /**
             * Quantiles
             * @description By level.
             */
            quantiles: {
                [key: string]: number;
            };
            /**
             * Degrees Of Freedom
             * @description Of Student's t with this mean and standard deviation. There only where it was sent instead of a normal distribution, and not beyond the next item.
             */
            degrees_of_freedom?: number | null;
            /**
             * Experts
             * @description By name, `network` among them; there only with `experts=true`.
             */
            experts?: {
                [key: string]: components["schemas"]["RealExpert"];
            } | null;
        };
        /**
         * RealScore
         * @description How good the prediction of a real field was.
         */
        RealScore: {
            /**
             * Error
             * @description Observed minus predicted mean, in the field's unit.
             */
            error: number;
            /**
             * Crps
             * @description Continuous ranked probability score, in the field's unit; smaller is better.
             */
            crps: number;
            /**
             * Covered
             * @description Whether the value lay between the outermost quantiles.
             */
            covered: boolean | null;
        };
        /**
         * Reply
         * @description The answer to one item.
         * @example {
         *       "duplicate": false,
         *       "prediction": {
         *         "fields": {
         *           "load": {
         *             "mean": 3.1,
         *             "quantiles": {
         *               "0.05": 2.3,
         *               "0.5": 3.1,
         *               "0.95": 4
         *             },
         *             "std": 0.5
         *           },
         *           "state": {
         *             "probabilities": {
         *               "busy": 0.1,
         *               "idle": 0.9
         *             },
         *             "top": "idle"
         *           }
         *         },
         *         "sequence": 18,
         *         "weights_version": 812
         *       },
         *       "score": {
         *         "anomaly": 0.12,
         *         "drift": {
         *           "drifting": false,
         *           "fields": [],
         *           "level": 0.04
         *         },
         *         "fields": {
         *           "load": {
         *             "covered": true,
         *             "crps": 0.21,
         *             "error": 0.4
         *           },
         *           "state": {
         *             "nll": 0.22,
         *             "rank": 1
         *           }
         *         },
         *         "nll": 1.31
         *       },
         *       "sequence": 17,
         *       "stream": "site-7"
         *     }
         */
        Reply: {
            /** Stream */
            stream: string;
            /**
             * Sequence
             * @description The item's position in its stream, from 1.
             */
            sequence: number;
            /**
             * Duplicate
             * @description Whether the item had been applied before; nothing was learned again.
             */
            duplicate: boolean;
            /** @description `null` for a stream's first item. */
            score: components["schemas"]["Score"] | null;
            prediction: components["schemas"]["Prediction"];
        };
        /**
         * Results
         * @description The answers to many items.
         */
        Results: {
            /**
             * Results
             * @description One for each observation, in order.
             */
            results: (components["schemas"]["Reply"] | components["schemas"]["ErrorReply"])[];
        };
        /**
         * Score
         * @description How good the prediction was that awaited this item, taken before anything was learned from it.
         */
        Score: {
            /**
             * Nll
             * @description Negative log likelihood of the item, in nats.
             */
            nll: number;
            /**
             * Anomaly
             * @description The share of this stream's past items that were less surprising, 0 to 1.
             */
            anomaly: number;
            drift: components["schemas"]["Drift"];
            /**
             * Fields
             * @description By field; missing values have no score.
             */
            fields: {
                [key: string]: components["schemas"]["RealScore"] | components["schemas"]["CategoryScore"];
            };
        };
        /**
         * Sequences
         * @description Where streams are.
         */
        Sequences: {
            /**
             * Sequences
             * @description The last applied sequence of each stream; 0 where there is no such stream.
             * @example {
             *       "new": 0,
             *       "site-7": 17
             *     }
             */
            sequences: {
                [key: string]: number;
            };
            window: components["schemas"]["Window"];
        };
        /**
         * Size
         * @description What streams of a model take, in bytes where the name says so.
         */
        Size: {
            /** Streams */
            streams: number;
            /**
             * Belief Bytes
             * @description A belief as it is written.
             */
            belief_bytes: number;
            /**
             * Reply Bytes
             * @description A kept reply with its item, without what experts said.
             */
            reply_bytes: number;
            /**
             * Kept Replies
             * @description Replies kept per stream.
             */
            kept_replies: number;
            /**
             * Key Bytes
             * @description What the store adds for a stream.
             */
            key_bytes: number;
            /**
             * Stream Bytes
             * @description A stream that keeps all the replies it may, in the store.
             */
            stream_bytes: number;
            /**
             * Streams Bytes
             * @description All streams.
             */
            streams_bytes: number;
            /**
             * Snapshot Bytes
             * @description The saved weights, the current and the previous ones, at most.
             */
            snapshot_bytes: number;
            /**
             * Redo Bytes
             * @description The redo log, at most.
             */
            redo_bytes: number;
            /**
             * Store Bytes
             * @description All of it in the store's memory.
             */
            store_bytes: number;
            /**
             * Memory Bytes
             * @description The model in the service's memory while it is in use, at most.
             */
            memory_bytes: number;
        };
        /**
         * SizeIn
         * @description A spec, and how many streams of it there are to be.
         */
        SizeIn: {
            spec: components["schemas"]["ModelSpecIn"];
            /**
             * Streams
             * @description How many.
             * @default 1
             */
            streams: number;
        };
        /**
         * SnapshotIn
         * @description What to call a snapshot.
         */
        SnapshotIn: {
            /**
             * Name
             * @description For people.
             * @example before the outage
             */
            name?: string | null;
        };
        /**
         * StreamDrift
         * @description The drift signal of a stream, and its past.
         */
        StreamDrift: {
            /**
             * Drifting
             * @description Begins at `level` 1, ends once the level has stayed below .25 for 20 items.
             */
            drifting: boolean;
            /**
             * Level
             * @description How near the nearest field is to drift: 0 for not at all, 1 for drift, at most 2.
             */
            level: number;
            /**
             * Fields
             * @description Those that drift.
             */
            fields: string[];
            /**
             * Count
             * @description How often drift began.
             */
            count: number;
            /**
             * Since
             * @description The sequence at which the present drift began; `null` without one.
             */
            since: number | null;
            /**
             * Last
             * @description The sequence at which the last drift began; `null` before any.
             */
            last: number | null;
        };
        /**
         * StreamSnapshotInfo
         * @description A snapshot of a stream; of a damaged one only `id` and `bytes` are known.
         */
        StreamSnapshotInfo: {
            /**
             * Id
             * @description Rises from snapshot to snapshot.
             * @example 1
             */
            id: string;
            /**
             * Name
             * @description As it was given; `null` for none.
             * @example before the outage
             */
            name: string | null;
            /**
             * Sequence
             * @description Of the last item that it had seen.
             */
            sequence: number | null;
            /**
             * Created At
             * @example 2026-01-01T10:00:00Z
             */
            created_at: string | null;
            /**
             * Bytes
             * @description What it takes in the store.
             */
            bytes: number;
        };
        /**
         * StreamSnapshots
         * @description A stream's snapshots, the newest first.
         */
        StreamSnapshots: {
            /** Snapshots */
            snapshots: components["schemas"]["StreamSnapshotInfo"][];
        };
        /**
         * StreamSummary
         * @description Where a stream stands and how well it is predicted.
         */
        StreamSummary: {
            /** Stream */
            stream: string;
            /**
             * Sequence
             * @description Of the last applied item.
             */
            sequence: number;
            /**
             * Items
             * @description How many were applied.
             */
            items: number;
            /**
             * Weights Version
             * @description Weight updates that had gone into its pending prediction.
             */
            weights_version: number;
            drift: components["schemas"]["StreamDrift"];
            /**
             * Created At
             * @description When its first item was applied, or it was forked or imported.
             * @example 2026-01-01T10:00:00Z
             */
            created_at: string;
            /**
             * Updated At
             * @description When its last item was applied, or it was last restored.
             * @example 2026-01-01T10:05:00Z
             */
            updated_at: string;
        } & {
            [key: string]: unknown;
        };
        /**
         * Streams
         * @description One page of streams, in the order of their names.
         */
        Streams: {
            /** Streams */
            streams: components["schemas"]["StreamSummary"][];
            /**
             * Cursor
             * @description Where the next page begins; `null` at the end.
             */
            cursor: string | null;
        };
        /**
         * StreamsIn
         * @description Streams that something is asked of.
         */
        StreamsIn: {
            /**
             * Streams
             * @description Their names.
             * @example [
             *       "site-7",
             *       "site-8"
             *     ]
             */
            streams: string[];
        };
        /**
         * Window
         * @description How far a caller that does not wait for each answer may go ahead.
         */
        Window: {
            /**
             * Items
             * @description Most items taken in from one connection before their answers are written.
             */
            items: number;
            /**
             * Per Stream
             * @description Replies kept per stream: most items of one that may await their answers.
             */
            per_stream: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
