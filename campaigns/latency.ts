/** A slow network between host and database: nothing is acknowledged that is not committed, nothing charged twice. */
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { newFolder, startDatabase } from "./support/host-process.ts";
import { reportHost, startScene } from "./support/scene.ts";

export const latency: Campaign = {
  name: "latency",
  title: "A slow network between host and database",
  unit: "spells of delay, then of 1 kB/s, 30 s each (short: 4 s)",
  rounds: { full: 3, short: 1 },
  run,
};

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const folder = await newFolder(settings);
  const database = await startDatabase(folder, settings);
  const proxy = await FaultProxy.start(database.url, settings);
  const { host, load, probes } = await startScene(settings, {
    folder,
    environment: { DATABASE_URL: proxy.url },
    databaseUrl: database.url,
  });
  const spell = settings.short ? 4_000 : 30_000;
  load.start();
  for (let count = 1; count <= settings.rounds; count++) {
    proxy.slowness = { delayMilliseconds: 5_000, bytesPerSecond: Infinity };
    await pause(spell);
    proxy.slowness = { delayMilliseconds: 50, bytesPerSecond: 1_000 };
    await pause(spell);
    proxy.slowness = undefined;
    settings.say(`spell ${count} of ${settings.rounds}: ${load.log.acknowledgedWrites} writes acknowledged`);
    await pause(2_000);
  }
  await load.stop();
  await host.settled();
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  probes.listen();
  await probes.checkWhole(report, settings.short ? 5 : 60, settings.short ? 10_000 : 2_000);
  await reportHost(host, report);
  return report;
}
