/** What a server said before its body. Names of headers are in lower case; of one that is said twice the first counts. */
export interface Head {
  statusCode: number;
  headers: ReadonlyMap<string, string>;
}

/** The server said what is no HTTP, or nothing, or less than it promised. */
export class InvalidAnswer extends Error {}

/** The head of a final answer and its length, once it is complete; interim answers are passed over. */
export function readHead(text: string): (Head & { bytes: number }) | undefined {
  for (let start = 0; ;) {
    const end = text.indexOf("\r\n\r\n", start);
    if (end === -1) {
      if (text.length - start >= 5 && !text.startsWith("HTTP/", start))
        throw new InvalidAnswer("the answer is not HTTP");
      return undefined;
    }
    const [statusLine = "", ...fields] = text.slice(start, end).split("\r\n");
    const status = /^HTTP\/1\.[01] ([1-9]\d\d)(?: |$)/.exec(statusLine)?.[1];
    if (status === undefined) throw new InvalidAnswer("the answer is not HTTP/1.1");
    start = end + 4;
    if (status.startsWith("1")) continue;
    const headers = new Map<string, string>();
    for (const field of fields) {
      const [, name = "", value = ""] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(field) ?? [];
      if (name !== "" && !headers.has(name.toLowerCase())) headers.set(name.toLowerCase(), value);
    }
    return { statusCode: Number(status), headers, bytes: start };
  }
}

/** How long a server asks us to wait, in seconds. */
export function retryAfterOf({ headers }: Head): number | undefined {
  const seconds = /^\d{1,9}$/.exec(headers.get("retry-after") ?? "")?.[0];
  return seconds ? Number(seconds) : undefined;
}
