/** Many items against a real service, over connections that are cut. */

import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import {
  Client,
  InvalidItem,
  NoAnswer,
  type Reply,
  type RowLike,
  StepaheadError,
  Unauthorized,
  UnknownModel,
  type Via,
} from "../src/index.js";
import { closeError } from "../src/socket.js";
import { CuttingProxy } from "./proxy.js";
import { seeded } from "./random.js";
import { connect, someModel, someRows, URL_OF_SERVICE } from "./service.js";

const WAYS: Via[] = ["websocket", "requests"];

async function collect<T>(given: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const one of given) found.push(one);
  return found;
}

for (const via of WAYS) {
  describe(`many items via ${via}`, { concurrency: true }, () => {
    it("are learned once each, in order, though the connection is cut 8 times", async () => {
      const model = await someModel();
      const random = seeded(20);
      const proxy = new CuttingProxy(URL_OF_SERVICE, 8, () => 5000 + Math.floor(random() * 10_000));
      const client = connect({ retries: 20 }, await proxy.listen());
      const rows = someRows(500, 10);
      const replies = await collect(client.model(model.name).observeMany(rows, { via, chunk: 5 }));
      await proxy.close();
      assert.equal(proxy.nCuts, 8);
      assert.ok(
        replies.some((reply) => reply.duplicate),
        "no answer was lost",
      );
      assert.deepEqual(
        replies.map((reply) => [reply.stream, reply.sequence]),
        rows.map((_, i) => [`s-${i % 10}`, Math.floor(i / 10) + 1]),
      );
      for (let stream = 0; stream < 10; stream++) {
        const history = await model.stream(`s-${stream}`).history({ limit: 20 });
        const last = Array.from({ length: 20 }, (_, i) => 10 * (30 + i) + stream);
        assert.deepEqual(
          history.map((entry) => entry.item["load"]),
          last,
        );
      }
    });

    it("go on behind one that is refused, or end with it", async () => {
      const model = await someModel();
      const rows: RowLike[] = [
        ["a", { load: 1 }],
        ["a", { lod: 2 }],
        ["a", { load: NaN }],
        ["a", { load: 4 }],
      ];
      const outcomes = await collect(model.observeMany(rows, { via, errors: "yield" }));
      const shown = outcomes.map((outcome) => (outcome instanceof StepaheadError ? outcome.code : outcome.sequence));
      assert.deepEqual(shown, [1, "invalid_item", "invalid_item", 2]);
      const replies: Reply[] = [];
      const reading = async (): Promise<void> => {
        for await (const reply of model.observeMany(rows, { via })) replies.push(reply);
      };
      await assert.rejects(reading, InvalidItem);
      assert.deepEqual(
        replies.map((reply) => reply.sequence),
        [3],
      );
    });

    it("get their replies while their source waits for them, and leave it when it is left", async () => {
      const model = await someModel();
      let reply: Reply | undefined;
      let isEnded = false;
      async function* chain(): AsyncGenerator<RowLike> {
        try {
          for (let n = 0; ; n++) {
            assert.equal(reply?.sequence ?? 0, n);
            yield ["a", { load: n }];
            while ((reply?.sequence ?? 0) === n) await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          isEnded = true;
        }
      }
      for await (reply of model.observeMany(chain(), { via, experts: true })) if (reply.sequence === 5) break;
      while (!isEnded) await new Promise((resolve) => setImmediate(resolve));
      const load = reply?.prediction.fields["load"];
      assert.ok(load && load.experts);
    });

    it("leave nothing in flight that the next call meets", async () => {
      const model = await someModel();
      function* endless(): Generator<RowLike> {
        for (let n = 0; ; n++) yield ["a", { load: n }];
      }
      for (let round = 0; round < 3; round++) {
        for await (const reply of model.observeMany(endless(), { via })) {
          assert.ok(!reply.duplicate);
          if (reply.sequence % 5 === 0) break;
        }
      }
    });

    it("end with the error of their source, behind all replies", async () => {
      const model = await someModel();
      function* broken(): Generator<RowLike> {
        yield ["a", { load: 1 }];
        throw new Error("the source broke");
      }
      const given = model.observeMany(broken(), { via });
      assert.equal((await given.next()).value?.sequence, 1);
      await assert.rejects(given.next(), /the source broke/);
    });

    it("end with the signal's reason", async () => {
      const model = await someModel();
      const controller = new AbortController();
      const reason = new Error("enough");
      async function* endless(): AsyncGenerator<RowLike> {
        for (let n = 0; n < 3; n++) yield ["a", { load: n }];
        controller.abort(reason);
        await new Promise(() => undefined);
      }
      await assert.rejects(
        collect(model.observeMany(endless(), { via, signal: controller.signal })),
        (error) => error === reason,
      );
    });

    it("say why none is taken", async () => {
      const rows = someRows(3, 1);
      await assert.rejects(collect(connect().model("nobody").observeMany(rows, { via })), UnknownModel);
      const stranger = new Client(URL_OF_SERVICE, { apiKey: "wrong" });
      await assert.rejects(collect(stranger.model("nobody").observeMany(rows, { via })), Unauthorized);
      const nowhere = new Client("http://127.0.0.1:1", { retries: 1 });
      await assert.rejects(collect(nowhere.model("nobody").observeMany(rows, { via })), NoAnswer);
    });
  });
}

describe("many items", () => {
  it("go over a WebSocket where there is one and the client has no fetch of its own", () => {
    assert.equal(connect().via, "websocket");
    assert.equal(connect({ fetch }).via, "requests");
    assert.equal(connect({ fetch, WebSocket }).via, "websocket");
  });

  it("cannot go over a WebSocket where there is none", async () => {
    const model = await someModel(connect({ fetch }));
    await assert.rejects(collect(model.observeMany([], { via: "websocket" })), TypeError);
    await assert.rejects(collect(model.observeMany([], { chunk: 0 })), RangeError);
    assert.deepEqual(await collect(model.observeMany([])), []);
  });

  it("know the errors that a WebSocket is closed with", () => {
    const closed = [
      [1012, "draining: the service is shutting down"],
      [1013, "store_unavailable"],
      [1009, "body_too_large: over 5"],
      [4408, "slow_reader: nothing was read"],
      [4404, "unknown_model: no model"],
      [1006, ""],
      [1011, "internal"],
    ] as const;
    assert.deepEqual(
      closed
        .map(([code, reason]) => closeError(code, reason))
        .map(({ name, status, retried }) => [name, status, retried]),
      [
        ["Draining", undefined, true],
        ["StoreUnavailable", undefined, true],
        ["BodyTooLarge", undefined, false],
        ["SlowReader", 408, true],
        ["UnknownModel", 404, false],
        ["NoAnswer", undefined, true],
        ["NoAnswer", undefined, true],
      ],
    );
  });
});

it("goes on by requests where a proxy passes no upgrades on", async () => {
  const proxy = createServer((given, answer) => {
    const { upgrade: _, connection: __, ...headers } = given.headers;
    const passed = request(URL_OF_SERVICE + given.url, { method: given.method, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      response.pipe(answer);
    });
    given.pipe(passed);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address() as AddressInfo;
  const model = await someModel();
  const client = connect({ retries: 0 }, `http://127.0.0.1:${port}`);
  const replies = await collect(client.model(model.name).observeMany(someRows(40, 4)));
  assert.deepEqual(
    replies.map((reply) => reply.sequence),
    someRows(40, 4).map((_, i) => Math.floor(i / 4) + 1),
  );
  await assert.rejects(collect(client.model(model.name).observeMany(someRows(1, 1), { via: "websocket" })), NoAnswer);
  proxy.closeAllConnections();
  await new Promise((resolve) => proxy.close(resolve));
});
