import type { PoolStatistics } from "../supabase/functions/_shared/database/pool.ts";

/** Counts requests, and prints them for Prometheus with what the process itself uses. */
export class Metrics {
  /** Label pairs are few by design: routes that nobody serves share one. */
  readonly #requests = new Map<string, { count: number; seconds: number }>();

  count(method: string, path: string, status: number, seconds: number): void {
    const labels = `method="${knownMethod(method)}",route="${routeOf(path, status)}",status="${status}"`;
    const counted = this.#requests.get(labels) ?? { count: 0, seconds: 0 };
    counted.count++;
    counted.seconds += seconds;
    this.#requests.set(labels, counted);
  }

  /** With what is true at this moment, and counted elsewhere. */
  text(gauges: Record<string, number>, pools: ReadonlyMap<string, PoolStatistics>): string {
    const { rss, heapUsed } = process.memoryUsage();
    const cpu = process.cpuUsage();
    const lines = ["# TYPE darkroom_http_request_seconds summary"];
    for (const [labels, { count, seconds }] of this.#requests) {
      lines.push(`darkroom_http_request_seconds_count{${labels}} ${count}`);
      lines.push(`darkroom_http_request_seconds_sum{${labels}} ${seconds.toFixed(6)}`);
    }
    for (const [name, value] of Object.entries(gauges))
      lines.push(`# TYPE ${name} gauge`, `${name} ${value}`);
    lines.push(...poolLines(pools));
    lines.push(
      "# TYPE process_resident_memory_bytes gauge",
      `process_resident_memory_bytes ${rss}`,
      "# TYPE nodejs_heap_size_used_bytes gauge",
      `nodejs_heap_size_used_bytes ${heapUsed}`,
      "# TYPE process_cpu_seconds_total counter",
      `process_cpu_seconds_total ${((cpu.user + cpu.system) / 1e6).toFixed(3)}`,
      "# TYPE process_uptime_seconds gauge",
      `process_uptime_seconds ${process.uptime().toFixed(1)}`,
    );
    return `${lines.join("\n")}\n`;
  }
}

/** Connections at this moment, calls that wait for one, and what happened since the start. */
function poolLines(pools: ReadonlyMap<string, PoolStatistics>): string[] {
  const gauges = { open: "connections", idle: "idle_connections", waiting: "waiting_calls" } as const;
  const counters = {
    connected: "connections_made",
    lost: "connections_lost",
    deadlines: "deadlines_missed",
    busy: "busy_refusals",
    outages: "outages",
  } as const;
  const lines: string[] = [];
  const family = (key: keyof PoolStatistics, name: string, type: "gauge" | "counter") => {
    lines.push(`# TYPE ${name} ${type}`);
    for (const [pool, statistics] of pools) lines.push(`${name}{pool="${pool}"} ${statistics[key]}`);
  };
  for (const [key, name] of Object.entries(gauges))
    family(key as keyof PoolStatistics, `darkroom_database_${name}`, "gauge");
  for (const [key, name] of Object.entries(counters))
    family(key as keyof PoolStatistics, `darkroom_database_${name}_total`, "counter");
  return lines;
}

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

function knownMethod(method: string): string {
  return methods.has(method) ? method : "other";
}

/** `/functions/v1/<name>` by name, every other path by its first part; never what a caller can invent. */
function routeOf(path: string, status: number): string {
  const [, first = "", second, third] = path.split("/");
  const served = status !== 404 && status !== 401;
  if (first === "functions" && second === "v1") {
    return third && served && /^[\w-]{1,64}$/.test(third) ? `/functions/v1/${third}` : "/functions/v1";
  }
  if (["auth", "rest", "storage", "realtime"].includes(first)) return `/${first}/v1`;
  return served && ["health", "ready", "metrics", "openapi.json"].includes(first) ? `/${first}` : "other";
}
