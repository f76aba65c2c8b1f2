/** A host as its users start it, with clients that use it. */
import path from "node:path";
import type { CampaignSettings, Report } from "./campaign.ts";
import { HostProcess, newFolder } from "./host-process.ts";
import { Load, type LoadOptions } from "./load.ts";
import { type ProbeName, Probes } from "./services.ts";

export interface SceneOptions {
  environment?: Record<string, string>;
  /** The database by its own address, where the host reaches it by way of a proxy. */
  databaseUrl?: string;
  folder?: string;
  load?: Partial<LoadOptions>;
}

export interface Scene {
  host: HostProcess;
  load: Load;
  probes: Probes;
  /** Starts the host again when a service did not come back, so that the next round begins with a sound one. */
  reviveIfStuck(recovery: Map<ProbeName, number>): Promise<void>;
}

export async function startScene(settings: CampaignSettings, options: SceneOptions = {}): Promise<Scene> {
  const folder = options.folder ?? (await newFolder(settings));
  const { environment = {} } = options;
  const host = await HostProcess.start({ data: path.join(folder, "data"), environment }, settings);
  settings.say(`host at ${host.url}, process ${host.pid}`);
  const load = new Load({
    addresses: [host.url],
    keys: host.keys,
    databaseUrl: options.databaseUrl ?? host.keys.DB_URL,
    seed: settings.seed,
    ...loadOf(settings),
    ...options.load,
  });
  settings.atEnd(async () => {
    await load.stop();
    load.close();
  });
  await load.prepare();
  const probes = await Probes.create(load, host.url);
  settings.atEnd(async () => probes.close());
  return {
    host,
    load,
    probes,
    async reviveIfStuck(recovery) {
      if ([...recovery.values()].every(Number.isFinite)) return;
      settings.say("a service did not come back: the host is started again");
      await host.kill();
      await host.start();
    },
  };
}

/** In CI other tests run on the same machine. */
export function loadOf({ short }: CampaignSettings): Partial<LoadOptions> {
  return short ? { clients: 6, leaseSeconds: 2, callsPerSecond: 60 } : {};
}

/** Adds how the host lived, and whether it stops when it is told to. */
export async function reportHost(host: HostProcess, report: Report): Promise<void> {
  const exits = host.unexpectedExits;
  report.none("Times that the host ended by itself", exits.length);
  const { milliseconds, code } = await host.stop();
  report.atMost("SIGTERM ends the host", milliseconds / 1000, 10, "s");
  report.holds("Exit code after SIGTERM", String(code), code === 0);
  if (exits.length > 0) {
    const reasons = new Map<string, number>();
    for (const { code: exitCode, signal, reason } of exits) {
      const text = `${exitCode ?? signal}: ${reason}`;
      reasons.set(text, (reasons.get(text) ?? 0) + 1);
    }
    report.table("Why the host ended", ["exit and last words", "times"], [...reasons]);
  }
}
