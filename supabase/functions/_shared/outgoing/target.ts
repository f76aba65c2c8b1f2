import { lookup } from "node:dns/promises";
import ipaddr from "ipaddr.js";

/** The addresses of a name, as texts; rejects when there is none. */
export type Resolve = (hostname: string) => Promise<string[]>;

export interface TargetPolicy {
  /** Plain http and addresses that are not public, for development: `DARKROOM_WEBHOOKS_ALLOW_PRIVATE=on`. */
  allowPrivate: boolean;
  /** Origins that are taken as they are, though plain http or private: the operator named them. */
  trustedOrigins?: readonly string[];
  resolve?: Resolve;
}

/** Where to connect: the address that was checked, and the URL it stands for. */
export interface Target {
  url: URL;
  address: string;
}

/** Why nothing is sent to a URL. */
export class TargetRefused extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "TargetRefused";
  }
}

const resolveMilliseconds = 5_000;

/**
 * Finds out where a URL leads, and refuses what is not plainly somebody's public HTTPS server: every address of
 * the name must be public, not only the one that is taken, and a name that leads nowhere is refused by the same words
 * as one that leads inside, so that nobody learns what names there are.
 * @throws TargetRefused
 */
export async function findTarget(text: string, policy: TargetPolicy): Promise<Target> {
  const url = checkedUrl(text, policy);
  const isTaken = policy.allowPrivate || isTrusted(url, policy);
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  const unreachable = new TargetRefused("the host must have public addresses, and no others");
  let addresses: string[];
  try {
    addresses = await withinTime((policy.resolve ?? resolveByHost)(hostname));
  } catch {
    throw unreachable;
  }
  const [address] = addresses;
  if (address === undefined || !(isTaken || addresses.every(isPublicAddress))) throw unreachable;
  return { url, address };
}

function isTrusted(url: URL, { trustedOrigins = [] }: TargetPolicy): boolean {
  return trustedOrigins.includes(url.origin);
}

/** The URL, if it looks like one of somebody's public server. Where its name leads is not looked up. @throws TargetRefused */
export function checkedUrl(text: string, policy: TargetPolicy): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new TargetRefused("not a URL");
  }
  // Parsers disagree about what they drop or mend; a URL that needs it is not sent to.
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\s\\\u0000-\u0020\u007f]/.test(text)) throw new TargetRefused("no spaces, controls or backslashes");
  const isTaken = policy.allowPrivate || isTrusted(url, policy);
  if (url.protocol !== "https:" && !(isTaken && url.protocol === "http:")) {
    throw new TargetRefused("the scheme must be https");
  }
  if (url.username !== "" || url.password !== "") throw new TargetRefused("no user name or password");
  if (url.hash !== "") throw new TargetRefused("no fragment");
  if (isTaken) return url;
  // Ports below 1024 belong to other services than HTTP.
  if (url.port !== "" && Number(url.port) < 1024)
    throw new TargetRefused("the port must be 443 or above 1023");
  // Also an address in decimal, octal or hexadecimal is none: parsing has made a plain one of it.
  if (!/^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*$/.test(url.hostname)) {
    throw new TargetRefused("the host must be a name with a domain");
  }
  return url;
}

/** Whether an address is one of the public internet, by itself: nothing that stands for another is. */
export function isPublicAddress(text: string): boolean {
  // A zone belongs to a link.
  if (!ipaddr.isValid(text) || text.includes("%")) return false;
  const address = ipaddr.parse(text);
  if (address.kind() === "ipv6") {
    // What is outside of 2000::/3 is private, embeds an IPv4 address or is given to nobody.
    const global = address.match(ipaddr.parseCIDR("2000::/3") as [ipaddr.IPv6, number]);
    return global && address.range() === "unicast" && !isDocumentation(address as ipaddr.IPv6);
  }
  // The host of Azure's machines answers here, like a metadata service, though the range is public.
  return address.range() === "unicast" && text !== "168.63.129.16";
}

function isDocumentation(address: ipaddr.IPv6): boolean {
  return ["2001:db8::/32", "3fff::/20"].some((range) =>
    address.match(ipaddr.parseCIDR(range) as [ipaddr.IPv6, number]),
  );
}

/** By the machine itself. */
export async function resolveByHost(hostname: string): Promise<string[]> {
  const found = await lookup(hostname, { all: true });
  return found.map(({ address }) => address);
}

async function withinTime<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("the name was not resolved in time")), resolveMilliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
