/** How often one address may try a password, counted in this process. */
export interface SignInLimit {
  /** Seconds to wait, or 0 when the attempt may go on. */
  take(address: string): number;
}

const mostAddresses = 10_000;

export function createSignInLimit({
  attempts,
  windowSeconds,
  now = Date.now,
}: {
  attempts: number;
  windowSeconds: number;
  now?: () => number;
}): SignInLimit {
  const windows = new Map<string, { endsAt: number; taken: number }>();
  return {
    take(address) {
      const time = now();
      const key = networkOf(address);
      let window = windows.get(key);
      if (!window || window.endsAt <= time) {
        windows.delete(key);
        if (windows.size >= mostAddresses) forget(windows, time);
        window = { endsAt: time + windowSeconds * 1_000, taken: 0 };
        windows.set(key, window);
      }
      window.taken++;
      return window.taken > attempts ? Math.ceil((window.endsAt - time) / 1_000) : 0;
    },
  };
}

/** In order of insertion, which is that of their ends: the first are over soonest. */
function forget(windows: Map<string, { endsAt: number }>, time: number): void {
  for (const [key, { endsAt }] of windows) {
    if (endsAt > time && windows.size < mostAddresses) return;
    windows.delete(key);
  }
}

/** One customer has a whole /64 of IPv6 addresses. */
function networkOf(address: string): string {
  if (!address.includes(":") || address.startsWith("::ffff:")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros =
    tail === undefined ? [] : Array<string>(Math.max(0, 8 - groups.length - after.length)).fill("0");
  return [...groups, ...zeros, ...after].slice(0, 4).join(":");
}
