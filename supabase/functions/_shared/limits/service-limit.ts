/**
 * The service key's own limit, counted in this process: its calls are the hot path, and one counter in
 * the database would make every worker wait for every other.
 */
export interface ServiceLimit {
  /** Counts a request of this key; `remaining` below zero means refused. */
  take(key: string): { remaining: number; resetAt: number };
}

const windowMilliseconds = 60_000;

export function createServiceLimit(requestsPerMinute: number): ServiceLimit {
  const counts = new Map<string, { started: number; previous: number; current: number }>();
  return {
    take(key) {
      const now = Date.now();
      let count = counts.get(key);
      if (!count || now - count.started >= 2 * windowMilliseconds) {
        count = { started: now, previous: 0, current: 0 };
        counts.set(key, count);
      } else if (now - count.started >= windowMilliseconds) {
        count.previous = count.current;
        count.current = 0;
        count.started += windowMilliseconds;
      }
      const overlap = 1 - (now - count.started) / windowMilliseconds;
      const used = Math.ceil(count.previous * overlap) + count.current + 1;
      if (used <= requestsPerMinute) count.current++;
      return {
        remaining: requestsPerMinute - used,
        resetAt: Math.ceil((count.started + windowMilliseconds) / 1000),
      };
    },
  };
}
