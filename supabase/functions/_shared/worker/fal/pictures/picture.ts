import { pictureEndpoint, type PictureEndpointId } from "../../../pictures/endpoints.ts";
import { type PictureWarning, refusalsOf, warningsOf } from "../../../pictures/limits.ts";
import { flatParams, hasImage } from "../../../pictures/picture-params.ts";
import type { BilledValues } from "../../client.ts";
import { BadParams, inputOf, type Params, type Reader } from "../params.ts";
import type { RenderedOutput } from "../../provider.ts";
import type { FalRecipe, FalRequest } from "../recipe.ts";
import { boundPictures } from "./bounds.ts";
import { readersOf, type SourceNames } from "./endpoint-input.ts";

/** How FAL makes the pictures of a task type. */
export interface Picture {
  /** By flat params: see `flatParams`. */
  endpoint(params: Params): PictureEndpointId;
  /** How warnings call the model. */
  name(params: Params): string;
  sources?(params: Params): SourceNames;
  prompt?: Reader;
  /** What is done otherwise than asked for, beside what the endpoint does not take. */
  warnings?(params: Params): PictureWarning[];
}

export interface PictureRequests {
  /** Each a job of its own: an endpoint that makes one picture at a time has as many as there are pictures. */
  requests: FalRequest[];
  warnings: PictureWarning[];
}

/** What is asked of FAL for a task's params. @throws BadParams with everything that is wrong */
export function pictureRequests(
  picture: Picture,
  params: Params,
  billed: BilledValues | undefined,
): PictureRequests {
  const asked = askedParams(params);
  const endpointId = picture.endpoint(asked);
  const endpoint = pictureEndpoint(endpointId);
  const name = picture.name(asked);
  const sources = picture.sources?.(asked) ?? { images: [] };
  const first = inputOf(readersOf(endpointId, asked, sources, picture.prompt), asked);
  const refusals = refusalsOf(endpointId, asked, name);
  if (refusals.length > 0) throw new BadParams(refusals);
  const count = endpoint.mostImages === 1 ? (billed?.images ?? 1) : 1;
  const made = Array.from({ length: count }, (_, index) => {
    const { input, files } =
      index === 0 ? first : inputOf(readersOf(endpointId, asked, sources, picture.prompt), asked);
    if (index > 0 && typeof input["seed"] === "number") input["seed"] += index;
    const request: FalRequest = { model: endpointId, input, files, units: {} };
    return { request, warnings: boundPictures(endpoint, request, billed) };
  });
  return {
    requests: made.map(({ request }) => request),
    warnings: [
      ...warningsOf(endpointId, asked, name),
      ...(picture.warnings?.(asked) ?? []),
      ...(made[0]?.warnings ?? []),
    ],
  };
}

/** The recipe of a task type that makes pictures. */
export function pictureRecipe(picture: Picture): FalRecipe {
  return async ({ params, billed }, jobs): Promise<RenderedOutput> => {
    const { requests, warnings } = pictureRequests(picture, params, billed);
    for (const { message } of warnings) jobs.warn(message);
    jobs.expect(requests.length);
    // A webhook that completes the run knows no warnings.
    const completes = requests.length === 1 && warnings.length === 0;
    const results = await Promise.all(
      requests.map((request, step) => jobs.run(step, Object.assign(request, { completes }))),
    );
    const outputs: RenderedOutput[] = [];
    for (const { data } of results) outputs.push(await jobs.output(data));
    const [first, ...rest] = outputs;
    if (!first) throw new Error("a picture has no request");
    return { ...first, more: [...(first.more ?? []), ...rest] };
  };
}

/** Flat params; without the size that only the price has given, where the picture that it starts from decides it. */
function askedParams(params: Params): Params {
  const asked = flatParams(params);
  if (asked["match_image_size"] !== true || !hasImage(asked)) return asked;
  const { resolution: _resolution, image_size: _size, ...rest } = asked;
  return rest;
}
