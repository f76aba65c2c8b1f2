import http from "node:http";

export const answerLimitMilliseconds = 35_000;
/** A call without an answer is given up after this time, and counted. */
const giveUpMilliseconds = 40_000;

export type Service = "functions" | "rest" | "auth" | "storage" | "completion" | "ready";

export interface Call {
  service: Service;
  path: string;
  method?: string;
  headers?: Record<string, string>;
  /** An object is sent as JSON. */
  body?: object | Uint8Array | undefined;
}

export interface Answer {
  /** 0: the connection ended or was refused before an answer, or none came in time. */
  status: number;
  headers: http.IncomingHttpHeaders;
  bytes: Buffer;
  body: Record<string, unknown>;
  milliseconds: number;
}

/** What clients were answered, counted by service. */
export class AnswerBook {
  readonly counts = new Map<string, number>();
  readonly slowest = new Map<Service, number>();
  calls = 0;
  /** No answer within the limit, though the connection stood. */
  late = 0;
  unavailableWithoutRetryAfter = 0;
  readonly unexpected = new Map<string, number>();

  note(call: Call, outcome: string, answer: Answer, isGivenUp: boolean): void {
    this.calls++;
    const { service } = call;
    add(this.counts, `${service} ${outcome}`);
    if (isGivenUp || answer.milliseconds > answerLimitMilliseconds) this.late++;
    if (answer.status > 0) {
      this.slowest.set(service, Math.max(this.slowest.get(service) ?? 0, answer.milliseconds));
    }
    if (answer.status === 503 && answer.headers["retry-after"] === undefined) {
      this.unavailableWithoutRetryAfter++;
    }
    if (answer.status >= 500 && answer.status !== 503 && answer.status !== 507) {
      add(this.unexpected, `${call.method ?? "POST"} ${withoutIds(call.path)} ${outcome}`);
    }
  }

  get unexpectedCount(): number {
    return [...this.unexpected.values()].reduce((sum, count) => sum + count, 0);
  }

  count(pattern: RegExp): number {
    let sum = 0;
    for (const [name, count] of this.counts) if (pattern.test(name)) sum += count;
    return sum;
  }

  /** A row a service: what it answered, and the slowest answer. */
  rows(): (string | number)[][] {
    const services = [...new Set([...this.counts.keys()].map((name) => name.split(" ")[0] ?? ""))].sort();
    return services.map((service) => {
      const answers = [...this.counts]
        .filter(([name]) => name.startsWith(`${service} `))
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([name, count]) => `${name.slice(service.length + 1)}: ${count}`);
      const slowest = this.slowest.get(service as Service) ?? 0;
      return [service, answers.join(", "), `${(slowest / 1000).toFixed(1)} s`];
    });
  }
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function withoutIds(path: string): string {
  return path.replace(/\?.*/, "").replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "<id>");
}

/** Calls a host as a program on the network does. Of several addresses, a failed call moves on to the next. */
export class ApiClient {
  readonly #agent: http.Agent;
  readonly #addresses: string[];
  readonly #answers: AnswerBook;
  #current = 0;

  /** @param source last part of the loopback address to call from; limits on sign-ins count by address. */
  constructor(addresses: string[], answers: AnswerBook, source = 1) {
    this.#addresses = addresses;
    this.#answers = answers;
    this.#agent = new http.Agent({
      keepAlive: true,
      ...(process.platform === "linux" && { localAddress: `127.0.${source >> 8}.${source & 0xff || 1}` }),
    });
  }

  /** Calls are made to this address until one fails. */
  use(index: number): void {
    this.#current = index % this.#addresses.length;
  }

  async call(call: Call): Promise<Answer> {
    const begun = performance.now();
    const body = call.body instanceof Uint8Array || !call.body ? call.body : JSON.stringify(call.body);
    const isJson = body !== undefined && typeof body === "string";
    const headers = {
      ...(isJson && { "content-type": "application/json" }),
      ...(body !== undefined && { "content-length": String(Buffer.byteLength(body)) }),
      ...call.headers,
    };
    const address = this.#addresses[this.#current] ?? "";
    return await new Promise<Answer>((resolve) => {
      const request = http.request(address + call.path, {
        method: call.method ?? "POST",
        agent: this.#agent,
        headers,
      });
      let isDone = false;
      const finish = (outcome: string, part: Partial<Answer>, isGivenUp = false) => {
        if (isDone) return;
        isDone = true;
        clearTimeout(limit);
        const milliseconds = performance.now() - begun;
        const answer = { status: 0, headers: {}, bytes: Buffer.alloc(0), body: {}, milliseconds, ...part };
        if (answer.status === 0 || answer.status === 503) this.use(this.#current + 1);
        this.#answers.note(call, outcome, answer, isGivenUp);
        resolve(answer);
      };
      const limit = setTimeout(() => {
        finish("no answer", {}, true);
        request.destroy();
      }, giveUpMilliseconds);
      request.on("error", (error: NodeJS.ErrnoException) =>
        finish(error.code === "ECONNREFUSED" ? "refused" : "torn", {}),
      );
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", () => finish("torn", {}));
        response.on("close", () => finish("torn", {}));
        response.on("end", () => {
          const bytes = Buffer.concat(chunks);
          const status = response.statusCode ?? 0;
          finish(String(status), { status, headers: response.headers, bytes, body: jsonOf(response, bytes) });
        });
      });
      request.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function jsonOf(response: http.IncomingMessage, bytes: Buffer): Record<string, unknown> {
  if (bytes.length === 0 || !response.headers["content-type"]?.includes("json")) return {};
  return JSON.parse(bytes.toString()) as Record<string, unknown>;
}

export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}
