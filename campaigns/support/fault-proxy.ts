/** Stands between a host and PostgreSQL, on loopback, and does what networks do. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { CampaignSettings } from "./campaign.ts";
import { Random } from "./random.ts";

export interface Slowness {
  /** Each piece waits for a random time up to this. */
  delayMilliseconds: number;
  bytesPerSecond: number;
}

export class FaultProxy {
  /** The database's URL by way of the proxy. */
  readonly url: string;
  readonly #random: Random;
  readonly #links = new Set<Link>();
  /** Of commits that pass: the share whose connection is cut. */
  commitCutShare = 0;
  #slowness: Slowness | undefined;
  #isSilent = false;
  resets = 0;
  commitCuts = 0;

  private constructor(url: string, random: Random) {
    this.url = url;
    this.#random = random;
  }

  static async start(databaseUrl: string, settings: CampaignSettings): Promise<FaultProxy> {
    const target = new URL(databaseUrl);
    const server: Server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = new URL(databaseUrl);
    url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const proxy = new FaultProxy(url.href, new Random(settings.seed + 1));
    server.on("connection", (client) => {
      const link = new Link(proxy, client, connect(Number(target.port), target.hostname), proxy.#isSilent);
      proxy.#links.add(link);
      link.onEnd = () => proxy.#links.delete(link);
    });
    settings.atEnd(async () => {
      server.close();
      for (const link of proxy.#links) link.reset();
    });
    return proxy;
  }

  get random(): Random {
    return this.#random;
  }

  get slowness(): Slowness | undefined {
    return this.#slowness;
  }

  set slowness(slowness: Slowness | undefined) {
    this.#slowness = slowness;
    for (const link of this.#links) link.hurry();
  }

  resetAll(): void {
    this.#reset(() => true);
  }

  resetSome(share: number): void {
    this.#reset(() => this.#random.chance(share));
  }

  resetOlderThan(milliseconds: number): void {
    this.#reset((link) => performance.now() - link.openedAt > milliseconds);
  }

  #reset(isChosen: (link: Link) => boolean): void {
    for (const link of [...this.#links].filter(isChosen)) {
      this.resets++;
      link.reset();
    }
  }

  /**
   * From now on nothing arrives: what was connected never hears again, as when a router has forgotten it; what
   * connects now is connected when the silence ends, as when its first packet is sent again.
   */
  beSilent(): void {
    this.#isSilent = true;
    for (const link of this.#links) link.state = "dead";
  }

  endSilence(): void {
    this.#isSilent = false;
    for (const link of this.#links) link.silenceHasEnded();
  }
}

class Link {
  readonly openedAt = performance.now();
  state: "open" | "held" | "dead";
  onEnd: () => void = () => undefined;
  readonly #proxy: FaultProxy;
  readonly #client: Socket;
  readonly #database: Socket;
  readonly #sent = new MessageReader("client");
  readonly #answered = new MessageReader("server");
  readonly #held: Buffer[] = [];
  readonly #toDatabase: Direction;
  readonly #toClient: Direction;
  /** As the database last said: idle, in a transaction, in a failed one. */
  #transaction = "I";
  #isCutAtAnswer = false;

  constructor(proxy: FaultProxy, client: Socket, database: Socket, isSilent: boolean) {
    this.#proxy = proxy;
    this.#client = client;
    this.#database = database;
    this.state = isSilent ? "held" : "open";
    this.#toDatabase = new Direction(proxy, database);
    this.#toClient = new Direction(proxy, client);
    client.on("data", (bytes) => this.#fromClient(bytes));
    database.on("data", (bytes) => this.#fromDatabase(bytes));
    client.on("close", () => this.#clientClosed());
    database.on("close", () => this.#databaseClosed());
    // An error is followed by "close", which tells the other side.
    client.on("error", () => client.destroy());
    database.on("error", () => database.destroy());
  }

  #fromClient(bytes: Buffer): void {
    if (this.state === "dead") return;
    if (this.state === "held") return void this.#held.push(bytes);
    const isCommit = this.#sent.take(bytes).some((message) => this.#commits(message));
    if (isCommit && this.#proxy.random.chance(this.#proxy.commitCutShare)) {
      this.#proxy.commitCuts++;
      // Either the answer is lost, and it is committed; or both sides are cut while it is on its way.
      if (this.#proxy.random.chance(0.5)) this.#isCutAtAnswer = true;
      else return void this.#database.write(bytes, () => this.reset());
    }
    this.#toDatabase.send(bytes);
  }

  /** COMMIT as a statement, or the end of a statement that is a transaction of its own. */
  #commits({ type, content }: Message): boolean {
    if (type === "Q") return /^\s*commit/i.test(content.toString("latin1"));
    if (type === "P") return /^[^\0]*\0\s*commit/i.test(content.toString("latin1"));
    return type === "S" && this.#transaction === "I";
  }

  #fromDatabase(bytes: Buffer): void {
    if (this.state === "dead") return;
    for (const { type, content } of this.#answered.take(bytes)) {
      // ReadyForQuery, with the state of the transaction.
      if (type !== "Z") continue;
      this.#transaction = content.toString("latin1", 0, 1);
      if (this.#isCutAtAnswer && this.#transaction === "I") return this.reset();
    }
    if (!this.#isCutAtAnswer) this.#toClient.send(bytes);
  }

  #clientClosed(): void {
    // While nothing arrives, the database does not learn of it.
    if (this.state !== "dead") this.#database.destroy();
    this.onEnd();
  }

  #databaseClosed(): void {
    if (this.state === "dead") return;
    this.#client.destroy();
  }

  silenceHasEnded(): void {
    if (this.state === "dead") {
      this.#database.destroy();
    } else if (this.state === "held") {
      this.state = "open";
      for (const bytes of this.#held.splice(0)) this.#fromClient(bytes);
    }
  }

  hurry(): void {
    this.#toDatabase.hurry();
    this.#toClient.hurry();
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#database.resetAndDestroy();
    this.onEnd();
  }
}

/** One direction of a connection: bytes arrive in order, as late and as slowly as the network is now. */
class Direction {
  readonly #proxy: FaultProxy;
  readonly #target: Socket;
  readonly #waiting: { bytes: Buffer; at: number }[] = [];
  #freeAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(proxy: FaultProxy, target: Socket) {
    this.#proxy = proxy;
    this.#target = target;
  }

  send(bytes: Buffer): void {
    const { slowness, random } = this.#proxy;
    if (!slowness) return this.#write(bytes);
    const now = performance.now();
    const delay = random.between(0, slowness.delayMilliseconds);
    this.#freeAt = Math.max(this.#freeAt, now + delay) + (bytes.length * 1000) / slowness.bytesPerSecond;
    this.#waiting.push({ bytes, at: this.#freeAt });
    this.#timer ??= setTimeout(() => this.#sendDue(), this.#freeAt - now);
  }

  #sendDue(): void {
    for (let [next] = this.#waiting; next && next.at <= performance.now() + 1; [next] = this.#waiting) {
      this.#waiting.shift();
      this.#write(next.bytes);
    }
    const [next] = this.#waiting;
    this.#timer = next && setTimeout(() => this.#sendDue(), next.at - performance.now());
  }

  /** Delivers the delayed bytes at once: the network is fast again. */
  hurry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#freeAt = 0;
    for (const { bytes } of this.#waiting.splice(0)) this.#write(bytes);
  }

  #write(bytes: Buffer): void {
    if (!this.#target.destroyed) this.#target.write(bytes);
  }
}

interface Message {
  type: string;
  content: Buffer;
}

/** Messages in a stream of PostgreSQL's protocol. A client's first, the start-up message, has no type. */
class MessageReader {
  #rest: Buffer = Buffer.alloc(0);
  #isStarted: boolean;

  constructor(of: "client" | "server") {
    this.#isStarted = of === "server";
  }

  take(bytes: Buffer): Message[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const messages: Message[] = [];
    for (;;) {
      const header = this.#isStarted ? 1 : 0;
      if (this.#rest.length < header + 4) return messages;
      const end = header + this.#rest.readUInt32BE(header);
      if (this.#rest.length < end) return messages;
      const type = this.#isStarted ? this.#rest.toString("latin1", 0, 1) : "";
      messages.push({ type, content: this.#rest.subarray(header + 4, end) });
      this.#isStarted = true;
      this.#rest = this.#rest.subarray(end);
    }
  }
}
