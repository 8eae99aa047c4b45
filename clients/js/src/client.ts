/** The client: a service, and what concerns all of its models. */

import { Http, type HttpOptions } from "./http.js";
import type { Via } from "./link.js";
import { Model } from "./model.js";
import type { FieldKind, Health, ModelInfo, Spec, SpecChanges } from "./types.js";
import { badAnswer, fieldsToWire, isObject, path } from "./wire.js";

export interface ClientOptions extends HttpOptions {
  /** What `observeMany` connects with; the global `WebSocket` if absent, where there is one. */
  WebSocket?: typeof globalThis.WebSocket | undefined;
}

/** What every call takes beside its own arguments. */
export interface CallOptions {
  /** Ends the call, with the signal's reason; an item may have been applied all the same. */
  signal?: AbortSignal | undefined;
}

/**
 * A service.
 *
 * Every call is sent again after a lost answer, an overload or an outage, with growing delays, and does no harm twice.
 */
export class Client {
  readonly #http: Http;
  readonly #socket: typeof globalThis.WebSocket | undefined;
  readonly #models = new Map<string, Model>();

  /**
   * @param url - Where the service is.
   * @throws TypeError - If that is no absolute http or https URL.
   */
  constructor(url: string | URL, options: ClientOptions = {}) {
    this.#http = new Http(url, options);
    // Who gives a fetch of his own wants everything to go through it.
    this.#socket = options.WebSocket ?? (options.fetch === undefined ? globalThis.WebSocket : undefined);
  }

  /** How `observeMany` sends where it is not told: over a WebSocket if this client has one. */
  get via(): Via {
    return this.#socket === undefined ? "requests" : "websocket";
  }

  /**
   * Whether the service is ready, as it says itself.
   *
   * @throws StepaheadError - If it is not.
   */
  async health(options: CallOptions = {}): Promise<Health> {
    return (await this.#http.call({ method: "GET", path: "/readyz", signal: options.signal })) as Health;
  }

  /**
   * Create a model, or take the one that exists with the same spec.
   *
   * @param name - 1 to 64 letters, digits, `_`, `.` or `-`.
   * @param fields - Name to kind: `"real"`, a list of values, or `{ capacity: N }` for a category whose values are not
   *   known beforehand.
   * @param spec - The rest of the spec, such as `{ hidden: 64 }`; absent parts take the service's defaults.
   * @throws ModelExists - If a model of that name has another spec.
   * @throws InvalidSpec - If the spec is out of its bounds.
   */
  async createModel(
    name: string,
    fields: Readonly<Record<string, FieldKind>>,
    spec: Spec = {},
    options: CallOptions = {},
  ): Promise<Model> {
    const body = JSON.stringify({ fields: fieldsToWire(fields), ...spec });
    await this.#http.call({ method: "PUT", path: path("models", name), body, signal: options.signal });
    return this.model(name);
  }

  /** A handle on a model; asks nothing of the service. */
  model(name: string): Model {
    let model = this.#models.get(name);
    if (model === undefined) {
      model = new Model(this.#http, name, this.#socket);
      this.#models.set(name, model);
    }
    return model;
  }

  /** Describe all models. */
  async models(options: CallOptions = {}): Promise<ModelInfo[]> {
    const answer = await this.#http.call({ method: "GET", path: path("models"), signal: options.signal });
    if (!isObject(answer) || !Array.isArray(answer["models"])) throw badAnswer(answer);
    return answer["models"] as ModelInfo[];
  }

  /** See {@link Model.update}. */
  updateModel(name: string, changes: SpecChanges, options: CallOptions = {}): Promise<ModelInfo> {
    return this.model(name).update(changes, options);
  }

  /** See {@link Model.delete}. */
  async deleteModel(name: string, options: CallOptions = {}): Promise<void> {
    await this.model(name).delete(options);
    this.#models.delete(name);
  }
}
