/**
 * A worker that makes each picture by three jobs at FAL: two at the same time, and a third that takes what they made. It is a process of
 * its own, so that a test can kill it.
 */
import { pino } from "pino";
import { readFalVariables } from "../../supabase/functions/_shared/providers/variables.ts";
import { DarkroomClient } from "../../supabase/functions/_shared/worker/client.ts";
import { createFalProvider } from "../../supabase/functions/_shared/worker/fal/provider.ts";
import type { FalRecipe, FalRequest } from "../../supabase/functions/_shared/worker/fal/recipe.ts";
import { createWorker } from "../../supabase/functions/_shared/worker/worker.ts";

const [url = "", token = "", workerId = ""] = process.argv.slice(2);

function picture(prompt: string): FalRequest {
  return { model: "fal-ai/z-image/turbo", input: { prompt }, files: [], units: { images: 1, megapixels: 1 } };
}

const threeJobs: FalRecipe = async (_, jobs) => {
  jobs.expect(3);
  jobs.warn("made of two pictures");
  const parts = await Promise.all(["left", "right"].map((prompt, step) => jobs.run(step, picture(prompt))));
  const urls = parts.map(({ data }) => (data as { images: { url: string }[] }).images[0]?.url);
  const { data } = await jobs.run(2, picture(`both: ${urls.join(" ")}`));
  return await jobs.output(data);
};

const worker = createWorker({
  client: new DarkroomClient({ url, token, workerId }),
  providers: [
    createFalProvider({
      variables: readFalVariables((name) => process.env[name]),
      storageUrls: [url],
      recipes: { z_image_turbo: threeJobs },
      pace: { pollSeconds: 0.05, longestPollSeconds: 0.05, webhookSeconds: 1 },
    }),
  ],
  log: pino({}, process.stderr),
});
process.on("SIGTERM", () => void worker.stop());
await worker.run();
