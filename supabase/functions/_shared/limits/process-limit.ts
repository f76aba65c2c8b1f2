/**
 * Limits that are counted in this process: those of service keys, whose calls are the hot path, where one counter
 * in the database would make every worker wait for every other; and those of endpoints that know no caller.
 */
export interface ProcessLimit {
  /** Counts a request under this key; `remaining` below zero means refused. */
  take(key: string, requestsPerMinute: number): { remaining: number; resetAt: number };
}

const windowMilliseconds = 60_000;

export function createProcessLimit(): ProcessLimit {
  const counts = new Map<string, { started: number; previous: number; current: number }>();
  return {
    take(key, requestsPerMinute) {
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
