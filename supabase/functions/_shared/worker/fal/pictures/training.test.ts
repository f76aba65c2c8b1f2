import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { unzipSync } from "fflate";
import { png } from "../../../../../../test/support/png.ts";
import type { ClaimedTask, OutputFile } from "../../client.ts";
import { RenderError, type RunContext } from "../../provider.ts";
import { placeFiles } from "../inputs.ts";
import type { FalJobs, FalRequest } from "../recipe.ts";
import { trainingRecipe, trainingRequest } from "./training.ts";

const folder = "/storage/v1/object/public/image_uploads/u/uploads";

/** Places the files of a training whose images are in our storage; `found` is what storage has under each name. */
async function placed(
  names: readonly (string | { url: string; caption: string })[],
  found: Record<string, Uint8Array>,
  mostBytes?: number,
): Promise<{ request: FalRequest; archive: Uint8Array | undefined; contentType: string | undefined }> {
  const server = createServer((request, response) => {
    const bytes = found[request.url?.slice(folder.length + 1) ?? ""];
    response.writeHead(bytes ? 200 : 404).end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const address = (name: string) => `${origin}${folder}/${name}`;
  const images = names.map((name) =>
    typeof name === "string" ? address(name) : { ...name, url: address(name.url) },
  );
  const { request } = trainingRequest({ images });
  const [file] = request.files;
  if (file?.archive && mostBytes !== undefined) file.archive.mostBytes = mostBytes;
  let archive: Uint8Array | undefined;
  let contentType: string | undefined;
  try {
    await placeFiles(request.files, {
      policy: { allowPrivate: false },
      storageUrls: [origin],
      signal: new AbortController().signal,
      upload(bytes, type) {
        [archive, contentType] = [bytes, type];
        return Promise.resolve("https://v3.fal.media/files/archive");
      },
    });
  } finally {
    server.close();
  }
  return { request, archive, contentType };
}

test("the images of a training are one archive at FAL, each with its caption", async () => {
  const { request, archive, contentType } = await placed(["a.png", { url: "b.png", caption: "a red fox" }], {
    "a.png": png(),
    "b.png": png({ width: 64, height: 64 }),
  });
  assert.deepEqual(request.input, {
    steps: 1000,
    images_data_url: "https://v3.fal.media/files/archive",
    data_archive_format: "zip",
  });
  assert.deepEqual([request.units, contentType], [{ training_steps: 1000 }, "application/zip"]);
  assert.ok(archive);
  const entries = unzipSync(archive);
  assert.deepEqual(Object.keys(entries).sort(), ["001.png", "002.png", "002.txt"]);
  assert.deepEqual(Buffer.from(entries["001.png"] ?? []), Buffer.from(png()));
  assert.equal(new TextDecoder().decode(entries["002.txt"]), "a red fox");
});

test("a training with a file that is not an image, or that is not there, fails before anything is brought to FAL", async () => {
  for (const found of [{ "a.png": new TextEncoder().encode("<html>") }, {}]) {
    await assert.rejects(
      placed(["a.png"], found),
      (error) => error instanceof RenderError && !error.isRetryable && error.message.startsWith("images: "),
    );
  }
});

test("images that are too large together fail a training before anything is brought to FAL", async () => {
  const found = { "a.png": png(), "b.png": png() };
  const most = png().byteLength + 1;
  await assert.rejects(
    placed(["a.png", "b.png"], found, most),
    (error) => error instanceof RenderError && /have more than .+ MiB together/.test(error.message),
  );
  assert.ok((await placed(["a.png"], found, most)).archive);
});

test("more steps than are paid are not trained, and settings of other trainers are warned of", () => {
  const images = ["https://media.example/1.png"];
  const { request, warnings } = trainingRequest({ images, steps: 4000, learning_rate: 0.001 });
  assert.deepEqual([request.input["steps"], request.units], [1000, { training_steps: 1000 }]);
  assert.deepEqual(warnings, [
    "`steps` is 1000 instead of 4000: the price is for 1000 steps.",
    "A training of 1 images gives a weak LoRA: send 4 or more.",
    "`learning_rate` is not used: the trainer of Flux has no such setting.",
  ]);
});

test("the LoRA that was trained is the output; a result without one ends the task", async () => {
  const file: OutputFile = {
    bytes: new Uint8Array(8),
    filename: "",
    contentType: "application/octet-stream",
  };
  const task = {
    task_id: "t",
    task_type: "lora_training",
    params: { images_data_url: "https://media.example/foxes.zip" },
  } as unknown as ClaimedTask;
  const jobsWith = (data: unknown) =>
    ({
      run: () => Promise.resolve({ requestId: "r", data }),
      fetch: (url: string, medium: string, filename: string) => {
        assert.deepEqual([url, medium], ["https://v3.fal.media/files/fox.safetensors", "weights"]);
        return Promise.resolve({ ...file, filename });
      },
      warn: () => undefined,
    }) as unknown as FalJobs;
  const context = {} as RunContext;
  const made = await trainingRecipe(
    task,
    jobsWith({ diffusers_lora_file: { url: "https://v3.fal.media/files/fox.safetensors" } }),
    context,
  );
  assert.deepEqual(made, { file: { ...file, filename: "t_lora.safetensors" } });
  await assert.rejects(
    async () => trainingRecipe(task, jobsWith({ images: [] }), context),
    (error) => error instanceof RenderError && !error.isRetryable && error.endsJob,
  );
});
