import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { startFakeGroq } from "../support/fake-groq.ts";
import { startNodeHost } from "../support/hosts.ts";
import { invoke, signUp, succeed } from "../support/calls.ts";

test("/ready names dead models and counts open billing alerts as warnings, and stays 200", async () => {
  const groq = await startFakeGroq();
  // Known by the provider's list, before anybody asks for a prompt.
  groq.listed.delete("qwen/qwen3.8-27b");
  const host = await startNodeHost({ prompts: { GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: groq.url } });
  try {
    const warnings = async () => {
      const response = await fetch(`${host.apiUrl}/ready`);
      assert.equal(response.status, 200);
      const body = (await response.json()) as { status: string; warnings?: string[] };
      assert.equal(body.status, "ready");
      return body.warnings ?? [];
    };
    while ((await warnings()).length === 0) await pause(20);
    assert.deepEqual((await warnings()).map(withoutTimes), [
      "the model qwen/qwen3.8-27b is not served by its provider since … (not_listed)",
    ]);

    // Another is found to be gone by who asks it; the fallback answers.
    groq.dead.set("openai/gpt-oss-120b", "model_decommissioned");
    groq.behaves("a red fox");
    const person = await signUp(host);
    const edit = { task: "edit_prompt", originalPromptText: "a fox", editInstructions: "make it red" };
    const answer = await succeed(invoke(person, "ai-prompt", edit));
    assert.deepEqual([answer["newText"], answer["model"]], ["a red fox", "openai/gpt-oss-20b"]);
    assert.ok((await warnings()).some((line) => line.includes("openai/gpt-oss-120b")));
    assert.match(host.logged(), /the provider does not serve the model openai\/gpt-oss-120b/);

    await host.sql`
      insert into billing_alerts (reason, subject)
      values ('unreadable_event', 'evt_1'), ('unreadable_event', 'evt_2'), ('wrong_amount', 'pi_1')`;
    assert.equal((await warnings()).at(-1), "3 billing alerts are open: unreadable_event 2, wrong_amount 1");
    await host.sql`update billing_alerts set state = 'dismissed', closed_at = now()`;
    assert.ok((await warnings()).every((line) => line.startsWith("the model")));
  } finally {
    await host.stop();
    await groq.close();
  }
});

function withoutTimes(line: string): string {
  return line.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/, "…");
}
