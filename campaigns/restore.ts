/** Backups under load, by the commands of docs/backup.md; then each is restored into a new folder, and used. */
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type CommandRun, documentedCommands, DocumentShell } from "../test/support/documented-commands.ts";
import { bearer } from "./support/api-client.ts";
import { type Campaign, type CampaignSettings, Report, round as rounded } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { FileReplacer } from "./support/file-replacer.ts";
import { HostProcess, newFolder } from "./support/host-process.ts";
import { Load } from "./support/load.ts";
import { Random } from "./support/random.ts";
import { type AccessToken, type BackupBegin, RestoredInstallation } from "./support/restored.ts";
import { loadOf, reportHost, type Scene, startScene } from "./support/scene.ts";
import { Probes } from "./support/services.ts";
import { copyLog, promisesOfBackup } from "./support/write-log.ts";

export const restore: Campaign = {
  name: "restore",
  title: "Backups under load, each restored",
  unit: "backups",
  rounds: { full: 5, short: 1 },
  run,
};

type Ending = "kill -9" | "SIGTERM" | "kill -9 during the backup";
/** How the host ends after the first backup, the second, and so on. */
const endings: readonly Ending[] = ["kill -9", "SIGTERM", "kill -9 during the backup"];

interface Source extends Scene {
  folder: string;
  replacer: FileReplacer;
  tokens: AccessToken[];
  commands: DocumentedCommands;
}

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const random = new Random(settings.seed);
  const folder = await newFolder(settings);
  const scene = await startScene(settings, { folder });
  const replacer = await FileReplacer.create(scene.load);
  settings.atEnd(async () => {
    await replacer.stop();
    replacer.close();
  });
  const commands = await DocumentedCommands.of(folder);
  const source: Source = { ...scene, folder, replacer, tokens: [], commands };
  const { host, load } = source;
  const figures: (string | number)[][] = [];
  for (let round = 1; round <= settings.rounds; round++) {
    const ending = endings[(round - 1) % endings.length] ?? "SIGTERM";
    if (round > 1) await host.start();
    load.start();
    replacer.start();
    await makeTokens(source, round);
    await pause(random.between(1_000, 3_000));
    const { begin, seconds, exitCode, output } = await backUp(source, round, ending, random);
    await Promise.all([load.stop(), replacer.stop()]);
    settings.say(`backup ${round} of ${settings.rounds} in ${seconds} s, ${ending}: ${output.trim()}`);
    report.part = `Backup ${round} (${ending}): `;
    report.holds("Exit code of `npm run backup`", `${exitCode}`, exitCode === 0);
    if (exitCode !== 0) continue;
    const restored = await restoreInto(source, round, begin, settings, report);
    const meanwhile = load.log.acknowledgedWrites - begin.log.acknowledgedWrites;
    figures.push([round, ending, begin.log.acknowledgedWrites, meanwhile, seconds, restored]);
  }
  report.part = "";
  report.table(
    "Backups: acknowledged writes before and after each began, and seconds",
    ["backup", "end of the host", "before", "after", "backup", "restore"],
    figures,
  );
  report.part = "The host that was backed up: ";
  checkAnswers(load, report);
  if (settings.short) {
    report.none("Times that the host ended by itself", host.unexpectedExits.length);
    return report;
  }
  await host.start();
  await checkPromises(load, report, await load.drain());
  await reportHost(host, report);
  return report;
}

/** Two personal access tokens, of which one is revoked. */
async function makeTokens({ load, tokens }: Source, round: number): Promise<void> {
  const { people, sessionHistory } = load.log;
  const person = people[round % people.length];
  if (!person) throw new Error("Nobody has signed up.");
  const client = load.client(295);
  const headers = bearer(sessionHistory.get(person.userId)?.at(-1)?.accessToken ?? "");
  for (const isRevoked of [false, true]) {
    const made = await client.call({
      service: "functions",
      path: "/functions/v1/generate-pat",
      headers,
      body: {},
    });
    if (made.status !== 200) throw new Error(`No token: ${made.bytes.toString()}`);
    if (isRevoked) {
      const body = { token_id: made.body["id"] };
      const revoked = await client.call({
        service: "functions",
        path: "/functions/v1/revoke-pat",
        headers,
        body,
      });
      if (revoked.status !== 200) throw new Error(`The token was not revoked: ${revoked.bytes.toString()}`);
    }
    tokens.push({ token: String(made.body["token"]), projectId: person.projectId, isRevoked });
  }
  client.close();
}

/** Under load, which goes on until the host has ended. */
async function backUp(source: Source, round: number, ending: Ending, random: Random) {
  const { host, load, replacer, tokens, commands } = source;
  const begin: BackupBegin = {
    log: copyLog(load.log),
    files: replacer.acknowledgedNow(),
    tokens: [...tokens],
  };
  const begun = performance.now();
  const making = commands.backUp(round);
  if (ending === "kill -9 during the backup") {
    await pause(random.between(700, 1_500));
    await host.kill();
  }
  const { exitCode, output } = await making;
  const seconds = rounded((performance.now() - begun) / 1000);
  if (ending !== "kill -9 during the backup") await pause(300);
  if (ending === "kill -9") await host.kill();
  if (ending === "SIGTERM") await host.stop();
  if (load.log.acknowledgedWrites === begin.log.acknowledgedWrites) {
    throw new Error("Nothing was written after the backup began: this round proves nothing.");
  }
  return { begin, seconds, exitCode, output };
}

/** Restores a backup, starts a host there on the same address, and checks and uses it. Answers the restore's seconds. */
async function restoreInto(
  source: Source,
  round: number,
  begin: BackupBegin,
  settings: CampaignSettings,
  report: Report,
): Promise<number> {
  const { load, folder, commands } = source;
  const begun = performance.now();
  const { exitCode, output } = await commands.restore(round);
  const seconds = rounded((performance.now() - begun) / 1000);
  report.holds("Exit code of `npm run restore`", `${exitCode}`, exitCode === 0);
  settings.say(`restored in ${seconds} s: ${output.trim()}`);
  if (exitCode !== 0) return seconds;
  const data = path.join(folder, `restored-${round}`);
  // A cluster is there already.
  const host = await HostProcess.start(
    { data, port: source.host.port },
    { ...settings, template: undefined },
  );
  const { SERVICE_ROLE_KEY, SECRET_KEY, PUBLISHABLE_KEY } = load.options.keys;
  const sameKeys = Object.entries({ SERVICE_ROLE_KEY, SECRET_KEY, PUBLISHABLE_KEY }).filter(
    ([name, key]) => host.keys[name as keyof typeof host.keys] === key,
  );
  report.holds("Keys that are those of before", `${sameKeys.length} of 3`, sameKeys.length === 3);
  const checked = await commands.check(round);
  report.holds("`npm run verify` and `npm run doctor`", checked.said, checked.isHealthy);
  await new RestoredInstallation(host, load, report).check(begin, source.replacer);

  const next = new Load(
    {
      addresses: [host.url],
      keys: host.keys,
      databaseUrl: host.keys.DB_URL,
      seed: settings.seed + round,
      ...loadOf(settings),
    },
    promisesOfBackup(begin.log, load.log),
  );
  settings.atEnd(async () => {
    await next.stop();
    next.close();
  });
  await next.prepare();
  await next.drain();
  next.start();
  await pause(settings.short ? 1_000 : 3_000);
  await next.stop();
  const later = next.log.completions.size - begin.log.completions.size;
  report.holds("Tasks completed after the restore", String(later), later > 0);
  await checkPromises(next, report, await next.drain());
  checkAnswers(next, report);
  const probes = await Probes.create(next, host.url);
  settings.atEnd(async () => probes.close());
  probes.listen();
  await probes.checkWhole(report, settings.short ? 5 : 60, settings.short ? 10_000 : 2_000);
  probes.close();
  next.close();
  await reportHost(host, report);
  return seconds;
}

/** The commands of docs/backup.md, with other names of folders for each round. */
class DocumentedCommands {
  readonly #shell: DocumentShell;
  readonly #commands: string[];

  private constructor(shell: DocumentShell, commands: string[]) {
    this.#shell = shell;
    this.#commands = commands;
  }

  static async of(folder: string): Promise<DocumentedCommands> {
    const shell = new DocumentShell(folder, { DARKROOM_DATA: path.join(folder, "data") });
    return new DocumentedCommands(shell, await documentedCommands("docs/backup.md"));
  }

  async backUp(round: number): Promise<CommandRun> {
    return await this.#run("npm run backup ", round);
  }

  async restore(round: number): Promise<CommandRun> {
    return await this.#run("npm run restore ", round);
  }

  async check(round: number): Promise<{ said: string; isHealthy: boolean }> {
    const { exitCode, output } = await this.#run("npm run -s verify ", round);
    const isHealthy = exitCode === 0 && output.match(/^Healthy: /gm)?.length === 2;
    return { said: isHealthy ? "healthy, healthy" : output, isHealthy };
  }

  /** Answers what the command said, without npm's own lines. */
  async #run(begins: string, round: number): Promise<CommandRun> {
    const { exitCode, output } = await this.#shell.run(this.#command(begins, round));
    return { exitCode, output: output.replaceAll(/^(> .*)?\n/gm, "") };
  }

  #command(begins: string, round: number): string {
    const command = this.#commands.find((text) => text.startsWith(begins));
    if (command === undefined) throw new Error(`docs/backup.md has no command "${begins}".`);
    return command
      .replaceAll("~/darkroom-backup", `~/backup-${round}`)
      .replaceAll("~/darkroom-restored", `~/restored-${round}`);
  }
}
