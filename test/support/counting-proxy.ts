import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface CountingProxy {
  /** The database's URL, by way of the proxy. */
  url: string;
  /** Round trips since the last time this was asked: each ends with the client's Sync message. */
  roundTrips(): number;
  close(): void;
}

/** Stands between a client and PostgreSQL and counts how often the client waits for an answer. */
export async function countingProxy(databaseUrl: string): Promise<CountingProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((client) => {
    const database = connect(Number(target.port), target.hostname);
    const messages = new MessageTypes();
    client.on("data", (bytes) => {
      count += messages.take(bytes).filter((type) => type === "S").length;
    });
    client.pipe(database).pipe(client);
    for (const socket of [client, database]) {
      sockets.add(socket);
      // A broken pipe here is the client's or the test's own end; the other side hears of it by the pipe.
      socket.on("error", () => socket.destroy());
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: url.href,
    roundTrips() {
      const counted = count;
      count = 0;
      return counted;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Types of the messages in a stream of PostgreSQL's protocol. A client's first, the start-up message, has none. */
export class MessageTypes {
  #rest: Buffer = Buffer.alloc(0);
  #started: boolean;

  constructor(of: "client" | "server" = "client") {
    this.#started = of === "server";
  }

  take(bytes: Buffer): string[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const types: string[] = [];
    for (;;) {
      const header = this.#started ? 1 : 0;
      if (this.#rest.length < header + 4) return types;
      const end = header + this.#rest.readUInt32BE(header);
      if (this.#rest.length < end) return types;
      if (this.#started) types.push(String.fromCharCode(this.#rest[0] ?? 0));
      this.#started = true;
      this.#rest = this.#rest.subarray(end);
    }
  }
}
