/** A link of single requests: one frame at a time. */

import { StepaheadError } from "./errors.js";
import type { Http } from "./http.js";
import type { Ear, Link } from "./link.js";
import type { Frame } from "./pipeline.js";
import { path } from "./wire.js";

/** Sends each frame as a request of its own. */
export class RequestsLink implements Link {
  readonly #http: Http;
  readonly #model: string;
  readonly #params: Record<string, string | undefined>;
  readonly #ear: Ear;
  readonly #end = new AbortController();

  constructor(http: Http, model: string, experts: boolean, ear: Ear) {
    this.#http = http;
    this.#model = model;
    this.#params = { experts: experts ? "true" : undefined };
    this.#ear = ear;
    queueMicrotask(() => {
      if (!this.#end.signal.aborted) ear.opened();
    });
  }

  send(frame: Frame): void {
    void this.#exchange(frame);
  }

  close(): void {
    this.#end.abort();
  }

  async #exchange(frame: Frame): Promise<void> {
    const { signal } = this.#end;
    const params = frame.kind === "observations" ? this.#params : {};
    let answer: unknown;
    try {
      const target = path("models", this.#model, frame.kind);
      answer = await this.#http.once({ method: "POST", path: target, body: frame.json, params, signal });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof StepaheadError)) throw error;
      if (error.status === undefined) {
        this.close();
        this.#ear.broke(error);
        return;
      }
      answer = { error };
    }
    if (!signal.aborted) this.#ear.answered(answer);
  }
}
