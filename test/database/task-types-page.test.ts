import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { projectPath } from "../../server/migrate.ts";
import { falRecipes } from "../../supabase/functions/_shared/worker/fal/recipes.ts";
import { withDatabase } from "../support/database.ts";
import { falShapes } from "../support/fake-fal/shapes.ts";
import { fixtureFolder, type KeptCase } from "../support/fal-requests.ts";

interface PageRow {
  runners: string[];
  endpoints: string[];
}

const runnerNames: Record<string, string> = {
  "GPU worker": "gpu_worker",
  "API worker": "api_worker",
  FAL: "fal",
  sandbox: "sandbox",
};

/** The rows of the table in docs/task-types.md, by task type. */
function pageRows(): Map<string, PageRow> {
  const text = readFileSync(projectPath("docs/task-types.md"), "utf8");
  const lines = text.split("\n").filter((line) => /^\| +`[\w-]+` +\|/.test(line));
  return new Map(
    lines.map((line) => {
      const [type = "", runners = "", endpoints = ""] = line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim());
      const named = runners.split(", ").map((name) => runnerNames[name] ?? name);
      return [
        type.replaceAll("`", ""),
        {
          runners: named,
          endpoints: [...endpoints.matchAll(/`([^`]+)`/g)].map(([, name]) => `fal-ai/${name}`),
        },
      ];
    }),
  );
}

test("docs/task-types.md names what runs each task type, and no visible type has the sandbox alone", () =>
  withDatabase(async ({ sql }) => {
    const types = await sql<{ name: string; runners: string[]; is_visible: boolean }[]>`
      select name, runners, is_visible from task_types where alias_of is null and category <> 'call' order by name`;
    const rows = pageRows();
    assert.deepEqual(
      Object.fromEntries([...rows].map(([type, { runners }]) => [type, [...runners].sort()])),
      Object.fromEntries(types.map(({ name, runners }) => [name, [...runners].sort()])),
    );
    for (const { name, runners, is_visible: isVisible } of types) {
      if (isVisible) assert.notDeepEqual(runners, ["sandbox"], `${name} is visible and only drawn`);
      assert.equal(runners.includes("fal"), Object.hasOwn(falRecipes, name), `${name} at FAL`);
    }
  }));

test("docs/task-types.md names the endpoints of FAL that the requests of each task type use", () => {
  const used = new Map<string, Set<string>>();
  for (const file of readdirSync(projectPath(fixtureFolder))) {
    const cases = JSON.parse(readFileSync(projectPath(`${fixtureFolder}/${file}`), "utf8")) as KeptCase[];
    for (const { task_type: type, model } of cases.flatMap(({ requests }) => requests))
      used.set(type, (used.get(type) ?? new Set()).add(model));
  }
  const rows = pageRows();
  for (const [type, models] of used) {
    const named = rows.get(type)?.endpoints ?? [];
    assert.deepEqual(
      [...models].filter((model) => !named.includes(model)),
      [],
      `${type} uses these too`,
    );
  }
  const known = falShapes().endpoints;
  for (const [type, { endpoints }] of rows)
    assert.deepEqual(
      endpoints.filter((endpoint) => !Object.hasOwn(known, endpoint)),
      [],
      type,
    );
});
