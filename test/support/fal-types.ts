import { issuesOf } from "./fake-fal/check-input.ts";
import { inputShape, type ObjectShape } from "./fake-fal/shapes.ts";

/** The fields of an endpoint's input, as the official client of FAL declares them; undefined where it is not in use here. */
export function fieldsOfEndpoint(model: string): ObjectShape | undefined {
  return inputShape(model);
}

/** The names of these fields, and of those that the endpoint needs. */
export function inputFieldsOf(model: string): { known: string[]; required: string[] } {
  const fields = Object.entries(inputShape(model) ?? {});
  return {
    known: fields.map(([name]) => name),
    required: fields.filter(([, { required }]) => required).map(([name]) => name),
  };
}

/** What is wrong with an input for an endpoint, as FAL says it. */
export function faultsOfInput(model: string, input: Record<string, unknown>): string[] {
  if (!inputShape(model)) return [`${model} is not in test/support/fake-fal/endpoints.ts`];
  return issuesOf(model, input).map(({ loc, msg }) => `${model}: ${loc.slice(1).join(".")}: ${msg}`);
}
