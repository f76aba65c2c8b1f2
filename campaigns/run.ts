/**
 * `npm run campaign -- <name> [--rounds N] [--seed S] [--short]`: runs a fault campaign and prints its figures as
 * Markdown. Exit 1 when a promise is broken, 2 when the campaign itself failed.
 */
import { parseArgs } from "node:util";
import { campaigns } from "./registry.ts";
import { runCampaign } from "./support/run-campaign.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    seed: { type: "string", default: "1" },
    short: { type: "boolean", default: false },
  },
});
const campaign = campaigns.find(({ name }) => name === positionals[0]);
const [rounds, seed] = [values.rounds, values.seed].map((text) => (text === undefined ? text : Number(text)));
if (!campaign || (rounds !== undefined && !(rounds >= 1)) || !Number.isInteger(seed)) {
  console.error(
    "Usage: npm run campaign -- <name> [--rounds N] [--seed S] [--short], where <name> is one of:",
  );
  for (const { name, title, unit, rounds: counts } of campaigns) {
    console.error(`  ${name.padEnd(18)} ${title} (${counts.full} ${unit}; short: ${counts.short})`);
  }
  process.exit(2);
}

const stopping = new AbortController();
process.once("SIGINT", () => stopping.abort());
process.once("SIGTERM", () => stopping.abort());
// Always ends the processes that were started.
process.on("uncaughtException", (error) => {
  console.error(error);
  stopping.abort();
});
try {
  const begun = Date.now();
  const report = await runCampaign(campaign, {
    rounds,
    seed: seed ?? 1,
    short: values.short,
    say: (line) => console.error(`${((Date.now() - begun) / 1000).toFixed(0).padStart(5)} s  ${line}`),
    stop: stopping.signal,
  });
  console.log(report.markdown(`${campaign.title} (\`${campaign.name}\`)`));
  process.exitCode = report.broken.length > 0 ? 1 : 0;
} catch (error) {
  console.error(error);
  process.exitCode = 2;
}
// Sockets that hang are part of what is looked for: they must not keep this process.
process.exit();
