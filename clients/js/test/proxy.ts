/** A TCP proxy that cuts connections in the middle of what is answered. */

import { once } from "node:events";
import { type AddressInfo, createServer, type Server, Socket } from "node:net";

export class CuttingProxy {
  nCuts = 0;
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  readonly #bytesUntilCut: () => number;
  #cutsLeft: number;

  /**
   * @param target - Where connections lead.
   * @param cuts - How many are cut.
   * @param bytesUntilCut - How many bytes of answers the next connection that is cut lets through.
   */
  constructor(target: string, cuts: number, bytesUntilCut: () => number) {
    this.#target = new URL(target);
    this.#cutsLeft = cuts;
    this.#bytesUntilCut = bytesUntilCut;
    this.#server = createServer((near) => this.#join(near));
  }

  /** Its address. */
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cut all connections that are there. */
  cutNow(): void {
    this.nCuts++;
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of [...this.#sockets]) socket.destroy();
    await once(this.#server, "close");
  }

  #join(near: Socket): void {
    const far = new Socket().connect(Number(this.#target.port), this.#target.hostname);
    let left = this.#cutsLeft > 0 ? this.#bytesUntilCut() : Infinity;
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on("data", (data: Buffer) => {
        if (from === near || data.length < left || this.#cutsLeft === 0) {
          if (from === far) left -= data.length;
          to.write(data);
        } else if (left > 0) {
          to.write(data.subarray(0, left));
          left = 0;
          this.#cutsLeft--;
          this.nCuts++;
          from.destroy();
        }
      });
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroySoon();
      });
      from.on("error", () => undefined); // a cut connection is what this is for
    }
  }
}
