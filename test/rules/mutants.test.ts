import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { projectPath } from "../../server/migrate.ts";
import type { Mutant } from "../mutants/mutant.ts";
import { assertNone } from "./assert-none.ts";

test("every mutant breaks a line that there is, for a test that there is, and stands in the scorecard", async () => {
  const folder = projectPath("test/mutants");
  const scorecard = await readFile(projectPath("docs/scorecard.md"), "utf8");
  const testFiles = await everyTestFile();
  const faults: string[] = [];
  let count = 0;
  for (const file of await readdir(folder)) {
    if (file === "mutant.ts") continue;
    const { mutants } = (await import(path.join(folder, file))) as { mutants: Mutant[] };
    for (const mutant of mutants) {
      count++;
      const name = `${file}, check ${mutant.check}: ${mutant.breaks}`;
      const text = await readFile(projectPath(mutant.file), "utf8").catch(() => "");
      if (text.split(mutant.line).length !== 2)
        faults.push(`${name}: its line is not in ${mutant.file} once`);
      if (mutant.line === mutant.broken) faults.push(`${name}: breaks nothing`);
      const texts = await Promise.all(
        testFiles
          .filter((one) => one.includes(mutant.tests))
          .map((one) => readFile(projectPath(one), "utf8")),
      );
      const isNamed = texts.some((one) =>
        [...one.matchAll(/\btest\(\s*["'`](.+?)["'`],/g)].some((match) =>
          new RegExp(mutant.named).test(match[1] ?? ""),
        ),
      );
      if (!isNamed) faults.push(`${name}: no test of ${mutant.tests} is named ${mutant.named}`);
      if (!new RegExp(`^\\| ${mutant.check}\\s+\\|`, "m").test(scorecard)) {
        faults.push(`${name}: docs/scorecard.md has no row of check ${mutant.check}`);
      }
    }
  }
  assert.ok(count > 0);
  assertNone(faults, "Mutants that break nothing any more:");
});

async function everyTestFile(): Promise<string[]> {
  const folders = ["server", "supabase", "test", "worker"];
  const lists = await Promise.all(
    folders.map(async (folder) =>
      (await readdir(projectPath(folder), { recursive: true })).map((file) =>
        path.posix.join(folder, ...file.split(path.sep)),
      ),
    ),
  );
  return lists.flat().filter((file) => file.endsWith(".test.ts"));
}
