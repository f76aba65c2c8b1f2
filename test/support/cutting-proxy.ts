import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { MessageTypes } from "./counting-proxy.ts";

/** Where a connection is cut: before a statement reaches the database, or when it is done and its answer is on the way. */
export type CutPlace = "before" | "after";

/** Stands between a client and PostgreSQL, and breaks what is between them. */
export interface CuttingProxy {
  /** The database's URL, by way of the proxy. */
  url: string;
  /**
   * Cuts the connection at the n-th statement from now on; the first is 1. Of `times` cuts the others are before the
   * statements that follow.
   */
  cutAt(statement: number, place: CutPlace, times?: number): void;
  /** Cuts nothing any more. Answers whether it had come to the first cut. */
  disarm(): boolean;
  /** Drops every connection and refuses new ones, as a database does that is down. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** Swallows every byte from now on, as a silent network does; `speak` ends that for connections made afterwards. */
  silence(): void;
  speak(): void;
  close(): Promise<void>;
}

export async function cuttingProxy(databaseUrl: string): Promise<CuttingProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let cut: { statement: number; place: CutPlace; times: number } | undefined;
  let hasCut = false;
  let seen = 0;
  let isSilent = false;
  let silences = 0;

  const server = createServer((client) => {
    const database = connect(Number(target.port), target.hostname);
    const [sent, answered] = [new MessageTypes("client"), new MessageTypes("server")];
    let isCutAfterAnswer = false;
    let isDeaf = false;
    const silencesBefore = silences;
    const drop = () => {
      client.destroy();
      database.destroy();
    };
    client.on("data", (bytes) => {
      isDeaf ||= isSilent || silences > silencesBefore;
      if (isDeaf) return;
      // A statement ends with the client's Sync, without which it is undone, or is a Query, as `commit` is.
      seen += sent.take(bytes).filter((type) => type === "S" || type === "Q").length;
      if (cut && seen >= cut.statement) {
        const { place, times } = cut;
        hasCut = true;
        cut = times > 1 ? { statement: seen + 1, place: "before", times: times - 1 } : undefined;
        if (place === "before") return drop();
        isCutAfterAnswer = true;
      }
      database.write(bytes);
    });
    database.on("data", (bytes) => {
      isDeaf ||= isSilent || silences > silencesBefore;
      if (isDeaf) return;
      const types = answered.take(bytes);
      if (!isCutAfterAnswer) client.write(bytes);
      // ReadyForQuery: it is committed.
      else if (types.includes("Z")) drop();
    });
    for (const socket of [client, database]) {
      sockets.add(socket);
      socket.on("close", () => {
        sockets.delete(socket);
        drop();
      });
      // What breaks here is what the test wants to break; the other side hears of it by its own end.
      socket.on("error", drop);
    }
  });

  async function listen(port: number): Promise<void> {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  }
  async function stop(): Promise<void> {
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  await listen(0);
  const { port } = server.address() as AddressInfo;
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${port}`;
  return {
    url: url.href,
    cutAt(statement, place, times = 1) {
      seen = 0;
      hasCut = false;
      cut = { statement, place, times };
    },
    disarm() {
      cut = undefined;
      return hasCut;
    },
    down: stop,
    up: () => listen(port),
    silence() {
      isSilent = true;
      silences++;
    },
    speak: () => (isSilent = false),
    close: async () => {
      if (server.listening) await stop();
    },
  };
}
