/** Two hosts on one database, one of them killed at random: clients go on with the other. */
import { mkdir, symlink } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { HostProcess, newFolder, startDatabase } from "./support/host-process.ts";
import { Load } from "./support/load.ts";
import { Random } from "./support/random.ts";
import { loadOf, reportHost } from "./support/scene.ts";
import { Probes } from "./support/services.ts";

export const twoHosts: Campaign = {
  name: "two-hosts",
  title: "Two hosts, one killed at random",
  unit: "kills",
  rounds: { full: 50, short: 1 },
  run,
};

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const random = new Random(settings.seed);
  const folder = await newFolder(settings);
  const database = await startDatabase(folder, settings);
  const hosts = await startHosts(folder, database.url, settings);
  const [first] = hosts;
  const load = new Load({
    addresses: hosts.map(({ url }) => url),
    keys: first.keys,
    databaseUrl: database.url,
    seed: settings.seed,
    ...loadOf(settings),
  });
  settings.atEnd(async () => {
    await load.stop();
    load.close();
  });
  await load.prepare();
  load.start();
  for (let kill = 1; kill <= settings.rounds; kill++) {
    await pause(random.between(1_000, 4_000));
    const host = random.pick(hosts);
    await host?.kill();
    await pause(random.between(0, 1_500));
    await host?.start();
    settings.say(`kill ${kill} of ${settings.rounds}: ${load.log.acknowledgedWrites} writes acknowledged`);
  }
  await pause(1_000);
  await load.stop();
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  for (const [index, host] of hosts.entries()) {
    report.part = `Host ${index + 1}: `;
    const probes = await Probes.create(load, host.url);
    settings.atEnd(async () => probes.close());
    probes.listen();
    if (index === 1 || !settings.short) {
      await probes.checkWhole(report, settings.short ? 5 : 60, settings.short ? 10_000 : 2_000);
    }
  }
  for (const [index, host] of hosts.entries()) {
    report.part = `Host ${index + 1}: `;
    await reportHost(host, report);
  }
  return report;
}

/** Both know one public address, which issues the sessions, and share one folder of files. */
async function startHosts(
  folder: string,
  databaseUrl: string,
  settings: CampaignSettings,
): Promise<[HostProcess, HostProcess]> {
  const files = path.join(folder, "files");
  await mkdir(files);
  const start = async (name: string) => {
    const data = path.join(folder, name);
    await mkdir(data);
    await symlink(files, path.join(data, "storage"));
    const environment = { DATABASE_URL: databaseUrl, SUPABASE_URL: "http://darkroom.test" };
    return await HostProcess.start({ data, environment }, settings);
  };
  const first = await start("first");
  return [first, await start("second")];
}
