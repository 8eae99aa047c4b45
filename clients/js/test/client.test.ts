/** Single calls against a real service, some of whose answers are lost. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, it } from "node:test";
import {
  category,
  Client,
  InvalidItem,
  InvalidRequest,
  InvalidSpec,
  ModelExists,
  NoAnswer,
  Overloaded,
  real,
  SequenceGap,
  StepaheadError,
  StreamExists,
  Unauthorized,
  UnknownModel,
  UnknownSnapshot,
  UnknownStream,
} from "../src/index.js";
import { connect, someModel, URL_OF_SERVICE } from "./service.js";

/** A fetch that loses what the service answers to the calls of these numbers, counted from 1, to one kind of path. */
function losing(of: string, ...lost: number[]): typeof fetch {
  let n = 0;
  return async (input, init) => {
    const isCounted = new URL(input as string).pathname.endsWith(of) && ++n > 0;
    const response = await fetch(input, init);
    if (!isCounted || !lost.includes(n)) return response;
    await response.text();
    throw new TypeError("fetch failed");
  };
}

describe("a client", () => {
  it("creates a model once, and says so of one with another spec", async () => {
    const client = connect();
    const name = `m-${randomUUID()}`;
    const fields = { load: "real", state: ["idle", "busy"], code: { capacity: 10 } } as const;
    for (const _ of [1, 2]) assert.equal((await client.createModel(name, fields, { hidden: 4 })).name, name);
    const info = await client.model(name).info();
    assert.equal(info.spec["hidden"], 4);
    assert.ok((await client.models()).some((model) => model.name === name));
    await assert.rejects(client.createModel(name, { load: "real" }), (error: unknown) => {
      assert.ok(error instanceof ModelExists && error instanceof StepaheadError);
      assert.deepEqual([error.code, error.status, error.name], ["model_exists", 409, "ModelExists"]);
      assert.equal(error.data["model"], name);
      assert.match(error.requestId ?? "", /^\w+$/);
      return true;
    });
    await assert.rejects(client.createModel(`${name}-2`, { load: "real" }, { hidden: 0 }), InvalidSpec);
    assert.throws(() => new Client("localhost:8000"), TypeError);
  });

  it("changes and deletes a model", async () => {
    const client = connect();
    const model = await someModel(client);
    assert.equal((await client.updateModel(model.name, { learning_rate: 0.5 })).spec["learning_rate"], 0.5);
    await client.deleteModel(model.name);
    await assert.rejects(model.info(), UnknownModel);
    await assert.rejects(model.stream("a").observe({ load: 1 }), UnknownModel);
  });

  it("is refused without the key, but for the health check", async () => {
    const stranger = new Client(URL_OF_SERVICE);
    await assert.rejects(stranger.models(), Unauthorized);
    assert.equal((await stranger.health()).status, "ready");
  });

  it("says that nothing answers", async () => {
    const nowhere = new Client("http://127.0.0.1:1", { retries: 0 });
    await assert.rejects(nowhere.health(), NoAnswer);
  });

  it("ends a call with the signal's reason, and one without an answer in time as lost", async () => {
    const silent: typeof fetch = (_, init) =>
      new Promise((_resolve, reject) => init?.signal?.addEventListener("abort", () => reject(init.signal?.reason)));
    const client = connect({ fetch: silent });
    const reason = new Error("enough");
    const controller = new AbortController();
    const call = client.models({ signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(call, (error) => error === reason);
    await assert.rejects(connect({ fetch: silent, timeoutMs: 1, retries: 0 }).models(), NoAnswer);
  });

  it("lists streams page by page", async () => {
    const model = await someModel();
    const names = Array.from({ length: 501 }, (_, i) => `s-${String(i).padStart(3, "0")}`);
    const rows = names.map((stream) => ({ stream, item: { load: 1 } }));
    for await (const reply of model.observeMany(rows)) assert.equal(reply.sequence, 1);
    const found = [];
    for await (const summary of model.streams()) found.push(summary.stream);
    assert.deepEqual(found, names);
  });
});

describe("a stream", () => {
  it("scores each item, predicts the next, and looks back", async () => {
    const client = connect();
    const name = `m-${randomUUID()}`;
    const model = await client.createModel(name, { load: "real", state: ["idle", "busy"] }, { hidden: 4 });
    const stream = model.stream("site 7/8".replace("/", "%")); // what a path must encode
    const first = await stream.observe({ load: 3.5, state: "busy" }, { timestamp: new Date(0) });
    assert.equal(first.score, null);
    const second = await stream.observe({ load: null, state: "idle" }, { experts: true });
    assert.deepEqual([first.sequence, second.sequence, second.duplicate], [1, 2, false]);
    assert.ok(second.score !== null && second.score.nll > 0);
    assert.equal(typeof real(second.prediction, "load")?.mean, "number");
    assert.ok("network" in (real(second.prediction, "load")?.experts ?? {}));
    assert.ok(["idle", "busy"].includes(category(second.prediction, "state")?.top ?? ""));
    assert.equal(category(second.prediction, "load"), undefined);

    assert.equal((await stream.predict({ horizon: 3 })).steps.length, 3);
    assert.equal((await stream.belief()).sequence, 2);
    assert.equal((await stream.summary()).items, 2);
    const history = await stream.history({ limit: 2 });
    assert.deepEqual(
      history.map((entry) => entry.item),
      [
        { load: 3.5, state: "busy" },
        { load: null, state: "idle" },
      ],
    );
    assert.equal(new Date(history[0]?.timestamp ?? "").getTime(), 0);
    assert.equal(history[1]?.score?.nll, second.score.nll);
  });

  it("is forked, kept and taken back", async () => {
    const model = await someModel();
    const stream = model.stream("a");
    await assert.rejects(stream.fork("b"), UnknownStream);
    await stream.observe({ load: 1 });
    const kept = await stream.snapshot("before");
    await stream.observe({ load: 2 });
    const fork = await stream.fork("b");
    assert.equal((await fork.observe({ load: 3 })).sequence, 3);
    await assert.rejects(stream.fork("b"), StreamExists);
    assert.deepEqual(
      (await stream.snapshots()).map(({ id, name }) => [id, name]),
      [[kept.id, "before"]],
    );
    assert.equal((await stream.restore(kept)).sequence, 1);
    assert.equal((await stream.observe({ load: 4 })).sequence, 2);
    await stream.deleteSnapshot(kept.id);
    await assert.rejects(stream.restore(kept), UnknownSnapshot);
    await stream.delete();
    await assert.rejects(stream.summary(), UnknownStream);
    assert.equal((await stream.observe({ load: 5 })).sequence, 1);
  });

  it("says at once that there is no room for a snapshot", async () => {
    const stream = (await someModel()).stream("a");
    await stream.observe({ load: 1 });
    for (let i = 0; i < 16; i++) await stream.snapshot();
    await assert.rejects(stream.snapshot(), Overloaded);
  });

  it("takes items in the order of the calls", async () => {
    const stream = (await someModel()).stream("a");
    const replies = await Promise.all([1, 2, 3, 4].map((load) => stream.observe({ load })));
    assert.deepEqual(
      replies.map((reply) => reply.sequence),
      [1, 2, 3, 4],
    );
    assert.deepEqual(
      (await stream.history()).map((entry) => entry.item["load"]),
      [1, 2, 3, 4],
    );
  });

  it("learns an item once whose answer was lost", async () => {
    const { name } = await someModel();
    const stream = connect({ fetch: losing("/observations", 2) })
      .model(name)
      .stream("a");
    const replies = [];
    for (const load of [1, 2, 3]) replies.push(await stream.observe({ load }));
    assert.deepEqual(
      replies.map(({ sequence, duplicate }) => [sequence, duplicate]),
      [
        [1, false],
        [2, true],
        [3, false],
      ],
    );
    assert.equal((await stream.summary()).items, 3);
  });

  it("says of an item without any answer which sequence can be sent again", async () => {
    const { name } = await someModel();
    const stream = connect({ fetch: losing("/observations", 2), retries: 0 })
      .model(name)
      .stream("a");
    await stream.observe({ load: 1 });
    await assert.rejects(stream.observe({ load: 2 }), (error: unknown) => {
      assert.ok(error instanceof NoAnswer && error.outcomeUnknown);
      assert.deepEqual(error.data, { stream: "a", sequence: 2 });
      return true;
    });
    assert.equal((await stream.observe({ load: 2 }, { sequence: 2 })).duplicate, true);
    assert.equal((await stream.observe({ load: 3 })).sequence, 3);
  });

  it("is fed by two clients at once, each item learned once under a number of its own", async () => {
    const { name } = await someModel();
    const streams = [connect(), connect()].map((client) => client.model(name).stream("a"));
    const all = await Promise.all(
      streams.map(async (stream, i) => {
        const replies = [];
        for (let n = 0; n < 20; n++) replies.push(await stream.observe({ load: 100 * i + n }));
        return replies;
      }),
    );
    const sequences = all.flat().map((reply) => reply.sequence);
    assert.deepEqual(
      sequences.sort((a, b) => a - b),
      Array.from({ length: 40 }, (_, i) => i + 1),
    );
    assert.ok(all.flat().every((reply) => !reply.duplicate));
  });

  it("refuses what cannot be sent, and names what the service refuses", async () => {
    const model = await someModel();
    const stream = model.stream("a");
    await assert.rejects(stream.observe({ load: NaN }), RangeError);
    await assert.rejects(stream.observe({ load: undefined as unknown as null }), TypeError);
    await assert.rejects(stream.observe({ load: 1 }, { timestamp: new Date(NaN) }), RangeError);
    await assert.rejects(stream.observe({ load: 1 }, { sequence: 0 }), RangeError);
    await assert.rejects(stream.observe({ lod: 1 }), InvalidItem);
    await assert.rejects(stream.predict({ horizon: 0 }), InvalidRequest);
    for (const name of ["", "..", "a/b", "\ud800"]) await assert.rejects(model.stream(name).summary(), TypeError);
    await assert.rejects(stream.observe({ load: 1 }, { sequence: 7 }), (error: unknown) => {
      assert.ok(error instanceof SequenceGap);
      assert.deepEqual([error.expected, error.received, error.status], [1, 7, 409]);
      return true;
    });
    assert.equal((await stream.observe({ load: 1 })).sequence, 1);
  });
});
