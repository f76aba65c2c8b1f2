/** Each row and each sentence of the product document, in its own words. docs/product-document.md maps them to these tests. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { projectPath } from "../../server/migrate.ts";
import {
  booksOf,
  claimTask,
  complete,
  type CreatedTask,
  finishTask,
  invoke,
  type Person,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  signUp,
  stateOf,
  succeed,
  tokenOf,
} from "../support/calls.ts";
import { complete as completeInDatabase } from "../support/factories.ts";
import { type FalJob, pictures } from "../support/fake-fal.ts";
import { type FakeGroq, startFakeGroq } from "../support/fake-groq.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { listen, until } from "../support/live-events.ts";
import { png } from "../support/png.ts";

type Row = Record<string, unknown>;

interface Generated extends Row {
  task_id: string;
  task_ids: string[];
  task_type: string;
  status: string;
  params: Row;
}

/** The fifteen functions, by the names in the document. */
const functions = [
  "single-image-generate",
  "steerable-motion",
  "ai-prompt",
  "calculate-task-cost",
  "create-task",
  "claim-next-task",
  "complete_task",
  "update-task-status",
  "update-worker-model",
  "update-shot-pair-prompts",
  "stripe-checkout",
  "stripe-webhook",
  "grant-credits",
  "generate-pat",
  "revoke-pat",
];

const images = [1, 2, 3].map((index) => `https://media.example/${index}.png`);

for (const { name, start } of hosts) {
  describe(`the product document on ${name}`, () => {
    let groq: FakeGroq;
    let host: HostUnderTest;
    let person: Person & { projectId: string };
    /** What the person is told live, of each topic. */
    let live: Record<"tasks" | "generations" | "credits", Row[]>;
    before(async () => {
      groq = await startFakeGroq();
      host = await start({
        prompts: { GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: groq.url },
        // The workers of other tests were active a moment ago: FAL does not wait for them.
        fal: { FAL_WEBHOOK: "", DARKROOM_FAL_RUNS: "all" },
      });
      person = await personWithProject(host);
      await host.sql`select add_credit(${person.userId}, 'manual', 100000000)`;
      live = {
        tasks: await listen(person, `task-updates:${person.projectId}`),
        generations: await listen(person, `generations:${person.projectId}`),
        credits: await listen(person, `credits:${person.userId}`),
      };
    });
    after(async () => {
      await host?.stop();
      await groq?.close();
    });

    /** What other tests left in the queue is taken out of the way. */
    async function emptyQueue(): Promise<void> {
      await host.sql`select end_task(id, 'Cancelled', 'another test') from tasks where status in ('Queued', 'In Progress')`;
    }

    /** The generations and variants that a task made, as their owner reads them. */
    async function madeBy(taskId: string) {
      const { data } = await person.client
        .from("generation_variants")
        .select(
          "variant_type, is_primary, location, generation:generations!generation_variants_generation_id_fkey(id, based_on)",
        )
        .eq("source_task_id", taskId)
        .throwOnError();
      return data as unknown as {
        variant_type: string;
        is_primary: boolean;
        location: string;
        generation: { id: string; based_on: string | null };
      }[];
    }

    async function shotWith(frames: number): Promise<string> {
      const [shot] = await host.sql<{ id: string }[]>`
        insert into shots (project_id) values (${person.projectId}) returning id`;
      await host.sql`
        with made as (
          insert into generations (project_id, type, location)
          select ${person.projectId}, 'image', format('https://media.example/frame-%s.png', gen_random_uuid())
            from generate_series(1, ${frames}) returning id)
        insert into shot_generations (shot_id, generation_id, timeline_frame)
        select ${shot?.id ?? ""}, id, 50 * (row_number() over () - 1) from made`;
      return shot?.id ?? "";
    }

    test("Edge Functions handle backend operations: every function of the document answers at /functions/v1", async () => {
      for (const endpoint of functions) {
        const url = `${host.apiUrl}/functions/v1/${endpoint}`;
        const preflight = await fetch(url, { method: "OPTIONS" });
        assert.equal(preflight.status, 200, endpoint);
        const answer = await post(host, endpoint, {}, {});
        assert.ok([400, 401].includes(answer.status), `${endpoint}: ${answer.text}`);
      }
    });

    test("single-image-generate: tool parameters and prompts give a task ID, and FAL generates the images", async () => {
      await emptyQueue();
      const { fakeFal: fal } = host;
      Object.assign(fal, { jobs: [], refusals: [], plan: (job: FalJob) => (job.steps = ["ended"]) });
      const made = await invoke<Generated>(person, "single-image-generate", {
        project_id: person.projectId,
        prompts: ["a fox", "an owl"],
        resolution: "64x64",
        seed: 7,
      });
      assert.equal(made.status, 201, made.text);
      assert.equal(made.body.task_ids.length, 2);
      assert.equal(made.body.task_id, made.body.task_ids[0]);
      const { status } = await stateOf(host, made.body.task_id);
      assert.equal(status, "Queued");
      const { prompt, resolution } = made.body.params;
      assert.deepEqual([prompt, resolution], ["a fox", "64x64"]);
      await succeed(post(host, "run-provider-tasks", { seconds: 20, wait: true }, service(host)));
      for (const id of made.body.task_ids) {
        const state = await stateOf(host, id);
        assert.equal(state.status, "Complete", `${state.error_message} ${JSON.stringify(fal.refusals)}`);
        const [variant] = await madeBy(id);
        const stored = await fetch(variant?.location ?? "");
        assert.ok(fal.maker(new Uint8Array(await stored.arrayBuffer())), "FAL made the picture");
      }
      assert.equal(fal.jobs.length, 2);
    });

    test("steerable-motion: motion parameters and images give a task ID", async () => {
      const made = await invoke<Generated>(person, "steerable-motion", {
        project_id: person.projectId,
        image_urls: images,
        base_prompts: ["a walk", "a run"],
        segment_frames: [61, 33],
        frame_overlap: [10],
        resolution: "640x480",
      });
      assert.equal(made.status, 201, made.text);
      assert.equal((await stateOf(host, made.body.task_id)).status, "Queued");
      const details = made.body.params["orchestrator_details"] as Row;
      assert.deepEqual(details["input_image_paths_resolved"], images);
      assert.deepEqual(details["segment_frames_expanded"], [61, 33]);
      await emptyQueue();
    });

    test("ai-prompt: a base prompt and a creativity level give an enhanced prompt", async () => {
      const ask = (body: Row) => succeed(invoke<Row>(person, "ai-prompt", body));
      const levels: [Row, number][] = [
        [{ prompt: "a fox", creativity_level: 1.1 }, 1.1],
        [{ prompt: "a fox", creativity_level: "Predictable" }, 0.4],
        [{ base_prompt: "a fox", creativityLevel: "Insane" }, 1.2],
        [{ task: "enhance_prompt", prompt: "a fox" }, 0.8],
      ];
      for (const [body, level] of levels) {
        groq.asked.length = 0;
        groq.behaves("a red fox in deep snow, low winter sun");
        const answer = await ask(body);
        assert.equal(answer["enhanced_prompt"], "a red fox in deep snow, low winter sun");
        assert.equal(answer["creativity_level"], level);
        assert.equal(groq.asked[0]?.temperature, level, JSON.stringify(body));
      }
      await refused(invoke(person, "ai-prompt", { creativity_level: 1 }), 400, "invalid_request");
      await refused(
        invoke(person, "ai-prompt", { prompt: "a fox", creativity_level: "wild" }),
        400,
        "invalid_request",
      );
    });

    test("calculate-task-cost: a tool ID and parameters give a cost estimate", async () => {
      const ask = (body: Row) => succeed(invoke<Row>(person, "calculate-task-cost", body));
      const travel = {
        image_urls: images,
        base_prompts: ["a walk"],
        segment_frames: [61],
        frame_overlap: [10],
        resolution: "640x480",
      };
      const quote = await ask({ tool_id: "travel-between-images", params: travel });
      const input = { family: "travel_between_images", project_id: person.projectId, input: travel };
      const created = await succeed(invoke<Row>(person, "create-task", input));
      for (const amount of ["cost_microusd", "hold_microusd", "upper_bound_microusd"]) {
        assert.equal(quote[amount], created[amount], amount);
      }
      assert.ok(Number(quote["estimated_cost"]) > 0);
      const before = await booksOf(host, person.userId);
      await ask({ tool_id: "single-image-generate", params: { prompt: "a fox" } });
      assert.deepEqual(await booksOf(host, person.userId), before, "a quote charges nothing");
      const unknown = await refused(
        invoke(person, "calculate-task-cost", { tool_id: "no-such-tool", params: {} }),
        422,
        "unknown_tool",
      );
      assert.ok((unknown.body["tools"] as string[]).includes("image-generation"));
      await emptyQueue();
    });

    test("create-task validates credits, then creates a queued task", async () => {
      const poor = await personWithProject(host);
      const dear = { task_type: "lora_training", params: { prompt: "a fox" }, project_id: poor.projectId };
      await host.sql`update credit_accounts set held_microusd = balance_microusd where user_id = ${poor.userId}`;
      await refused(invoke(poor, "create-task", dear), 402, "insufficient_credits");
      await host.sql`update credit_accounts set held_microusd = 0 where user_id = ${poor.userId}`;
      const created = await queueTask(host, poor);
      assert.equal(created.status, "Task queued");
      assert.equal((await stateOf(host, created.task_id)).status, "Queued");
      assert.ok(created.held_microusd > 0);
      assert.equal((await booksOf(host, poor.userId)).held, created.held_microusd);
      await emptyQueue();
    });

    test("claim-next-task returns the next available task, first one that matches the worker's current model", async () => {
      await emptyQueue();
      const params = (model: string) => ({ params: { prompt: "a fox", model } });
      const first = await queueTask(host, person, params("z-image"));
      const second = await queueTask(host, person, { taskType: "qwen_image", ...params("qwen-image") });
      await succeed(
        post(
          host,
          "update-worker-model",
          { worker_id: "polling", current_model: "qwen-image" },
          service(host),
        ),
      );
      const claims = [];
      for (let turn = 0; turn < 3; turn++) {
        const answer = await post<{ task_id?: string }>(
          host,
          "claim-next-task",
          { worker_id: "polling" },
          service(host),
        );
        claims.push([answer.status, answer.body.task_id]);
      }
      assert.deepEqual(claims, [
        [200, second.task_id],
        [200, first.task_id],
        [204, undefined],
      ]);
      await emptyQueue();
    });

    test("complete_task handles the output, creates a generation or a variant, and deducts credits", async () => {
      const before = await booksOf(host, person.userId);
      const original = await finishTask(host, person);
      assert.deepEqual(
        (await madeBy(original.task_id)).map(({ variant_type, is_primary, location }) => [
          variant_type,
          is_primary,
          location,
        ]),
        [["original", true, original.public_url]],
      );
      assert.equal((await fetch(original.public_url)).status, 200);
      const edited = await finishTask(host, person, {
        taskType: "z_image_turbo_i2i",
        params: { image_url: original.public_url, prompt: "in a storm", based_on: original.generation_id },
      });
      assert.equal(edited.generation_id, original.generation_id, "a variant of the same generation");
      const { balance } = await booksOf(host, person.userId);
      assert.equal(balance, before.balance - original.cost_microusd - edited.cost_microusd);
      assert.ok(original.cost_microusd > 0 && edited.cost_microusd > 0);
    });

    test("complete_task with create_as_generation makes a new generation instead of a variant when based_on is present", async () => {
      const original = await finishTask(host, person);
      const edited = await finishTask(host, person, {
        taskType: "z_image_turbo_i2i",
        params: {
          image_url: original.public_url,
          prompt: "in a storm",
          based_on: original.generation_id,
          create_as_generation: true,
        },
      });
      assert.notEqual(edited.generation_id, original.generation_id);
      const [made] = await madeBy(edited.task_id);
      assert.deepEqual(made?.generation, { id: edited.generation_id, based_on: original.generation_id });
    });

    test("update-task-status: a worker's status update is broadcast in real time", async () => {
      await emptyQueue();
      const { task_id } = await queueTask(host, person);
      const { attempt } = await claimTask(host, service(host), task_id);
      const update = {
        task_id,
        attempt,
        status: "In Progress",
        progress: 0.5,
        progress_message: "step 4 of 8",
      };
      await succeed(post(host, "update-task-status", update, service(host)));
      await until(live.tasks, (seen) => seen.some(({ progress }) => progress === 0.5));
      const seen = live.tasks.find(({ progress }) => progress === 0.5);
      assert.deepEqual(
        [seen?.["event"], seen?.["task_id"], seen?.["status"]],
        ["task-update", task_id, "In Progress"],
      );
      await emptyQueue();
    });

    test("update-worker-model: a worker reports its loaded model, and gets tasks of that model first", async () => {
      await emptyQueue();
      const report = { worker_id: "warm", current_model: "qwen-image-2512" };
      const { current_model } = await succeed(post(host, "update-worker-model", report, service(host)));
      assert.equal(current_model, "qwen-image-2512");
      await queueTask(host, person, { params: { prompt: "a fox", model: "z-image" } });
      const matching = await queueTask(host, person, {
        taskType: "qwen_image_2512",
        params: { prompt: "a fox", model: "qwen-image-2512" },
      });
      const { body } = await post<{ task_id: string }>(
        host,
        "claim-next-task",
        { worker_id: "warm", same_model_only: true },
        service(host),
      );
      assert.equal(body.task_id, matching.task_id);
      await emptyQueue();
    });

    test("update-shot-pair-prompts: an orchestrator task writes pair_prompt and enhanced_prompt to shot_generations metadata", async () => {
      const shot_id = await shotWith(3);
      const { task_id } = await queueTask(host, person, {
        taskType: "travel_orchestrator",
        params: { orchestrator_details: { num_new_segments_to_generate: 2, shot_id } },
      });
      const prompts = { pair_prompts: ["a walk", "a run"], enhanced_prompts: ["a slow walk", "a fast run"] };
      await succeed(post(host, "update-shot-pair-prompts", { shot_id, task_id, ...prompts }, service(host)));
      const { data } = await person.client
        .from("shot_generations")
        .select("metadata")
        .eq("shot_id", shot_id)
        .order("timeline_frame")
        .throwOnError();
      const written = (data as { metadata: Row | null }[]).map(({ metadata }) => [
        metadata?.["pair_prompt"],
        metadata?.["enhanced_prompt"],
      ]);
      assert.deepEqual(written.slice(0, 2), [
        ["a walk", "a slow walk"],
        ["a run", "a fast run"],
      ]);
      await emptyQueue();
    });

    test("stripe-checkout creates a Stripe checkout session; stripe-webhook confirms the payment and credits the top-up", async () => {
      const buyer = await signUp(host);
      const before = await booksOf(host, buyer.userId);
      const { sessionId } = await succeed(
        invoke<{ sessionId: string }>(buyer, "stripe-checkout", { amount: 20 }),
      );
      assert.equal(host.fakeStripe.books.find("session", sessionId).amount_total, 2_000);
      host.fakeStripe.pay(sessionId);
      const paid = host.fakeStripe.events("checkout.session.completed").at(-1);
      assert.ok(paid);
      for (let delivery = 1; delivery <= 2; delivery++) {
        const { status } = await host.fakeStripe.deliver(paid, `${host.apiUrl}/functions/v1/stripe-webhook`);
        assert.equal(status, 200);
      }
      const { balance, ledger } = await booksOf(host, buyer.userId);
      assert.equal(balance, before.balance + 20_000_000, "credited once");
      assert.equal(ledger.at(-1)?.type, "stripe");
    });

    test("grant-credits: an admin allocates credits", async () => {
      const lucky = await signUp(host);
      const before = await booksOf(host, lucky.userId);
      const grant = {
        userId: lucky.userId,
        amount: 5,
        reason: "a thank-you",
        idempotency_key: `grant-${lucky.userId}`,
      };
      await succeed(post(host, "grant-credits", grant, service(host)));
      assert.equal((await booksOf(host, lucky.userId)).balance, before.balance + 5_000_000);
      await refused(invoke(lucky, "grant-credits", grant), 403, "forbidden");
    });

    test("generate-pat creates a token with which a local worker runs its owner's tasks; it is stored as a hash", async () => {
      await emptyQueue();
      const { token, credentials } = await tokenOf(person, { label: "my worker" });
      const { task_id } = await queueTask(host, person);
      const claimed = await claimTask(host, credentials, task_id, { worker_id: "local" });
      const done = await complete(host, credentials, task_id, {
        worker_id: "local",
        attempt: claimed.attempt,
      });
      assert.equal(done.generation_id !== null, true);
      const [kept] = await host.sql<{ row: string }[]>`
        select string_agg(row_to_json(known)::text, '') as row from personal_access_tokens as known`;
      assert.ok(kept && !kept.row.includes(token), "the text of the token is not stored");
    });

    test("revoke-pat invalidates a token at once", async () => {
      const { id, credentials } = await tokenOf(person);
      assert.equal((await post(host, "claim-next-task", { worker_id: "local" }, credentials)).status, 204);
      await succeed(invoke(person, "revoke-pat", { tokenId: id }));
      await refused(
        post(host, "claim-next-task", { worker_id: "local" }, credentials),
        401,
        "unauthenticated",
      );
    });

    test("real-time operations: task status, generation creation and credit balance are broadcast", async () => {
      await emptyQueue();
      const { tasks, generations, credits } = live;
      const { task_id, generation_id, cost_microusd } = await finishTask(host, person);
      const { balance } = await booksOf(host, person.userId);
      await until(tasks, (seen) =>
        seen.some((event) => event["status"] === "Complete" && event["task_id"] === task_id),
      );
      await until(generations, (seen) =>
        seen.some(({ change, generation_id: id }) => change === "created" && id === generation_id),
      );
      await until(credits, (seen) => seen.some(({ balance_microusd }) => balance_microusd === balance));
      assert.ok(cost_microusd > 0);
    });

    test("FAL-AI generates images: without a worker process, a call of a function runs the task there and FAL is paid once", async () => {
      await emptyQueue();
      const { fakeFal: fal } = host;
      fal.jobs.length = 0;
      // The first call ends before the job does; the second goes on with it.
      fal.plan = (job) => {
        job.result.body = pictures([fal.file("/files/fox.png")]);
        job.steps = [...Array.from({ length: 4 }, () => ({ logs: ["10%"] })), "ended"];
      };
      const { task_id, held_microusd: price } = await queueTask(host, person);
      const run = (seconds: number) =>
        succeed(post<Row>(host, "run-provider-tasks", { seconds, wait: true }, service(host)));
      const first = await run(2);
      assert.deepEqual([first["claimed"], first["completed"], first["given_back"]], [1, 0, 1]);
      assert.equal((await stateOf(host, task_id)).status, "Queued");
      const second = await run(60);
      assert.deepEqual([second["claimed"], second["completed"]], [1, 1]);
      const { status, attempts } = await stateOf(host, task_id);
      assert.deepEqual([status, attempts, fal.jobs.length], ["Complete", 0, 1]);
      const [made] = await madeBy(task_id);
      const stored = await fetch(String(made?.location));
      assert.deepEqual(Buffer.from(await stored.arrayBuffer()), Buffer.from(png()));
      const { ledger } = await booksOf(host, person.userId);
      assert.deepEqual(
        ledger.filter((entry) => entry.task_id === task_id).map(({ amount }) => amount),
        [-price],
      );
    });

    test("FAL-AI generates videos: a travel by steerable-motion ends as one film on the shot, by calls of that function alone", async () => {
      await emptyQueue();
      const { fakeFal: fal } = host;
      Object.assign(fal, { jobs: [], refusals: [], plan: (job: FalJob) => (job.steps = ["ended"]) });
      // Pictures in the host's own storage, which FAL cannot reach: they are brought to it.
      const picture = (await finishTask(host, person)).public_url;
      const shot_id = await shotWith(0);
      const travel = await invoke<Generated>(person, "steerable-motion", {
        project_id: person.projectId,
        image_urls: [picture, picture, picture],
        base_prompts: ["a walk", "a run"],
        segment_frames: [17],
        frame_overlap: [0],
        resolution: "128x96",
        shot_id,
      });
      assert.equal(travel.status, 201, travel.text);
      const { task_id } = travel.body;
      const runs: Row[] = [];
      while (["Queued", "In Progress"].includes((await stateOf(host, task_id)).status) && runs.length < 10) {
        runs.push(
          await succeed(post<Row>(host, "run-provider-tasks", { seconds: 20, wait: true }, service(host))),
        );
      }
      const state = await stateOf(host, task_id);
      const parts = await host.sql`
        select task_type, status, error_message from tasks where orchestrator_task_id = ${task_id}`;
      assert.equal(
        state.status,
        "Complete",
        `${state.error_message} ${JSON.stringify([runs, fal.refusals, parts])}`,
      );
      assert.deepEqual(fal.refusals, [], "FAL takes every request");
      const { data } = await person.client
        .from("shot_generations")
        .select(
          "generation:generations!shot_generations_generation_id_generations_id_fk!inner(type, location, is_child)",
        )
        .eq("shot_id", shot_id)
        .throwOnError();
      const films = (
        data as unknown as { generation: { type: string; location: string; is_child: boolean } }[]
      )
        .map(({ generation }) => generation)
        .filter(({ is_child }) => !is_child);
      assert.equal(films.length, 1);
      const stored = await fetch(films[0]?.location ?? "");
      assert.equal(stored.headers.get("content-type"), "video/mp4");
      assert.ok(fal.maker(new Uint8Array(await stored.arrayBuffer())), "FAL made the film");
    });

    test("task queue management: a task is queued, claimed, put back, failed, retried and cancelled by database operations", async () => {
      await emptyQueue();
      const { task_id } = await queueTask(host, person, { max_attempts: 1 });
      const update = (body: Row) =>
        succeed(post(host, "update-task-status", { task_id, ...body }, service(host)));
      const statuses: string[] = [];
      const note = async () => statuses.push((await stateOf(host, task_id)).status);
      const first = await claimTask(host, service(host), task_id);
      await note();
      await update({ attempt: first.attempt, status: "Queued", given_back: true });
      await note();
      const second = await claimTask(host, service(host), task_id);
      await update({ attempt: second.attempt, status: "Failed", error_details: "out of memory" });
      await note();
      await succeed(invoke(person, "update-task-status", { task_id, status: "Queued" }));
      await note();
      await succeed(invoke(person, "update-task-status", { task_id, status: "Cancelled" }));
      await note();
      assert.deepEqual(statuses, ["In Progress", "Queued", "Failed", "Queued", "Cancelled"]);
    });

    test("generation lifecycle: created by a task, given a variant, shown by its primary, deleted", async () => {
      const original = await finishTask(host, person);
      const edited = await finishTask(host, person, {
        taskType: "z_image_turbo_i2i",
        params: { image_url: original.public_url, prompt: "in a storm", based_on: original.generation_id },
      });
      const shown = async () => {
        const { data } = await person.client
          .from("generations")
          .select("location")
          .eq("id", original.generation_id ?? "");
        return (data as { location: string }[] | null)?.map(({ location }) => location);
      };
      assert.deepEqual(await shown(), [original.public_url]);
      await person.client
        .from("generation_variants")
        .update({ is_primary: true })
        .eq("id", edited.variant_id ?? "")
        .throwOnError();
      assert.deepEqual(await shown(), [edited.public_url]);
      await person.client
        .from("generations")
        .delete()
        .eq("id", original.generation_id ?? "")
        .throwOnError();
      assert.deepEqual(await shown(), []);
    });

    test("user credit tracking: what is held, spent and left adds up in the ledger", async () => {
      const spender = await personWithProject(host);
      const before = await booksOf(host, spender.userId);
      const { task_id, held_microusd: price } = await queueTask(host, spender);
      assert.equal((await booksOf(host, spender.userId)).held, price);
      const { attempt } = await claimTask(host, service(host), task_id);
      await complete(host, service(host), task_id, { worker_id: "worker-1", attempt });
      const { balance, held, ledger } = await booksOf(host, spender.userId);
      assert.deepEqual([balance, held, ledger.at(-1)?.amount], [before.balance - price, 0, -price]);
    });

    test("PAT tokens authenticate external workers for their owner's tasks alone", async () => {
      await emptyQueue();
      const stranger = await personWithProject(host);
      const { credentials } = await tokenOf(stranger);
      const { task_id } = await queueTask(host, person);
      assert.equal((await post(host, "claim-next-task", { worker_id: "local" }, credentials)).status, 204);
      await refused(post(host, "get-task-status", { task_id }, credentials), 404, "task_not_found");
      await refused(
        post(host, "grant-credits", { userId: stranger.userId, amount: 5 }, credentials),
        403,
        "forbidden",
      );
      await emptyQueue();
    });

    test("the service role has higher privileges for cloud processing and is rate-limited", async () => {
      await emptyQueue();
      const others = await personWithProject(host);
      for (const owner of [person, others]) await queueTask(host, owner);
      const limits = [];
      for (let turn = 0; turn < 2; turn++) {
        const answer = await post(host, "claim-next-task", { worker_id: "cloud" }, service(host));
        assert.equal(answer.status, 200, "anybody's task");
        limits.push(Number(answer.headers.get("x-ratelimit-remaining")));
      }
      const [first = 0, second = 0] = limits;
      assert.equal(first - second, 1, "each call of the service key is counted against its limit");
      await emptyQueue();
    });

    test("task completion is the work of SQL: a completion in the database makes generation, charge and event without an Edge Function", async () => {
      await emptyQueue();
      const { task_id } = await queueTask(host, person);
      await claimTask(host, service(host), task_id);
      await completeInDatabase(host.sql, task_id);
      assert.equal((await madeBy(task_id)).length, 1);
      const { ledger } = await booksOf(host, person.userId);
      const spent = ledger.filter((entry) => entry.task_id === task_id && entry.type === "spend");
      assert.equal(spent.length, 1);
      await until(live.tasks, (seen) =>
        seen.some((event) => event["status"] === "Complete" && event["task_id"] === task_id),
      );
    });

    test("batch operations: one invocation creates a hundred tasks, and one claims several", async () => {
      await emptyQueue();
      const one = { task_type: "z_image_turbo", params: { prompt: "a fox" }, project_id: person.projectId };
      const { task_ids } = await succeed(
        invoke<{ task_ids: string[]; tasks: CreatedTask[] }>(person, "create-task", {
          tasks: Array.from({ length: 100 }, () => one),
        }),
      );
      assert.equal(new Set(task_ids).size, 100);
      const { tasks } = await succeed(
        post<{ tasks: { task_id: string }[] }>(
          host,
          "claim-next-task",
          { worker_id: "batch", max_tasks: 5 },
          service(host),
        ),
      );
      assert.equal(tasks.length, 5);
      await emptyQueue();
    });

    test("database functions for complex queries: one call answers what would be several API calls", async () => {
      const shot = await person.client
        .rpc("insert_shot_at_position", {
          p_project_id: person.projectId,
          p_shot_name: "first",
          p_position: 0,
        })
        .single()
        .throwOnError();
      assert.ok((shot.data as { shot_id: string }).shot_id);
      const counts = await succeed(post<Row>(host, "task-counts", { run_type: "gpu" }, service(host)));
      assert.ok("totals" in counts);
    });

    test("external workers: payloads in the Headless-Wan2GP format reach them as they were sent", async () => {
      await emptyQueue();
      const payload = JSON.parse(await readFile(projectPath("test/fixtures/qwen_image.json"), "utf8")) as {
        task_type: string;
        params: Row;
      };
      const { task_id } = await queueTask(host, person, {
        taskType: payload.task_type,
        params: payload.params,
      });
      const claimed = await claimTask(host, service(host), task_id);
      assert.deepEqual(claimed.params, payload.params);
      await emptyQueue();
    });

    test("real-time updates: every status change is broadcast via Supabase Realtime", async () => {
      await emptyQueue();
      const { task_id } = await queueTask(host, person);
      const first = await claimTask(host, service(host), task_id);
      const back = { task_id, attempt: first.attempt, status: "Queued", given_back: true };
      await succeed(post(host, "update-task-status", back, service(host)));
      const { attempt } = await claimTask(host, service(host), task_id);
      await complete(host, service(host), task_id, { worker_id: "worker-1", attempt });
      const own = () =>
        live.tasks.filter((event) => event["task_id"] === task_id).map(({ status }) => status);
      await until(live.tasks, () => own().includes("Complete"));
      assert.deepEqual(own(), ["Queued", "In Progress", "Queued", "In Progress", "Complete"]);
    });

    test("error handling: refusals of every function have one format", async () => {
      for (const endpoint of functions) {
        const answers = [
          await post(host, endpoint, {}, {}),
          await post(host, endpoint, "{", service(host)),
          await fetch(`${host.apiUrl}/functions/v1/${endpoint}`, { method: "DELETE" }).then(
            async (response) => ({
              status: response.status,
              body: (await response.json()) as Row,
            }),
          ),
        ];
        for (const { status, body } of answers) {
          if (status < 400) continue;
          assert.deepEqual(
            [typeof body["error"], typeof body["message"], typeof body["request_id"]],
            ["string", "string", "string"],
            `${endpoint}: ${status}`,
          );
        }
        assert.equal(answers[2]?.status, 405, endpoint);
      }
    });
  });
}
