// Plays every part of the Messages API with the official TypeScript SDK, and prints what came of each as JSON.
//
//     node typescript_client.mjs BASE_URL                what any model can do
//     node typescript_client.mjs BASE_URL GUARDED_URL    all of it; GUARDED_URL asks for the key "right"
//
// The twin of `python_client.py`: same parts, same output. Run by `test_sdks.py` from a copy beside the installed SDK.
import Anthropic, { APIError } from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { jsonSchemaOutputFormat } from "@anthropic-ai/sdk/helpers/json-schema";

const MODEL = "claude-opus-5-5";
const WEATHER = {
  name: "get_weather",
  description: "Tell the weather of a city.",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const TOO_LARGE = 33 * 1024 * 1024;
const DEGREES = { Paris: "18 degrees", Rome: "25 degrees" };
const WEATHER_FORMAT = jsonSchemaOutputFormat({
  type: "object",
  properties: { city: { type: "string", enum: ["Paris", "Rome"] }, sunny: { type: "boolean" } },
  required: ["city", "sunny"],
});
const { input_schema: inputSchema, ...WEATHER_TOOL } = WEATHER;
const GET_WEATHER = betaTool({ ...WEATHER_TOOL, inputSchema, run: ({ city }) => DEGREES[city] });

const ask = (text, more = {}) => ({
  model: MODEL,
  max_tokens: 100,
  messages: [{ role: "user", content: text }],
  ...more,
});

const answer = (message) => ({
  type: message.type,
  model: message.model,
  blocks: message.content.map((block) => block.type),
  text: message.content.map((block) => (block.type === "text" ? block.text : "")).join(""),
  stop_reason: message.stop_reason,
  output_tokens: message.usage.output_tokens,
});

async function failure(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    return {
      class: error.constructor.name,
      status: error.status ?? null,
      type: error.error?.error?.type ?? null,
      message: error.error?.error?.message ?? null,
      request_id: (error.requestID ?? "").startsWith("req_"),
    };
  }
  return { class: null };
}

async function create(client) {
  const message = await client.messages.create(ask("say hello"));
  return { ...answer(message), request_id: (message._request_id ?? "").startsWith("req_") };
}

async function streamEvents(client) {
  const events = [];
  for await (const event of await client.messages.create(ask("say hello", { stream: true }))) events.push(event);
  const text = events.map((event) => (event.delta?.type === "text_delta" ? event.delta.text : "")).join("");
  return { first: events[0].type, last: events.at(-1).type, text };
}

async function streamHelper(client) {
  let pieces = "";
  const stream = client.messages.stream(ask("think first")).on("text", (text) => (pieces += text));
  const message = await stream.finalMessage();
  const signed = message.content.every((block) => block.type !== "thinking" || block.signature);
  return { ...answer(message), pieces, signed };
}

async function toolLoop(client) {
  const request = ask("weather in Paris", { tools: [WEATHER] });
  const asked = await client.messages.stream(request).finalMessage();
  const use = asked.content.find((block) => block.type === "tool_use");
  request.messages.push(
    { role: "assistant", content: asked.content },
    { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "18 degrees" }] },
  );
  const told = await client.messages.create(request);
  return { asked: answer(asked), name: use.name, input: use.input, told: answer(told) };
}

async function parsed(client) {
  const request = ask("weather as JSON", { output_config: { format: WEATHER_FORMAT } });
  const message = await client.messages.parse(request);
  const streamed = await client.messages.stream(request).finalMessage();
  return {
    outputs: [message.parsed_output, streamed.parsed_output],
    asked: [thought(message), thought(streamed)],
    stop_reasons: [message.stop_reason, streamed.stop_reason],
  };
}

async function toolRunner(client, stream) {
  const messages = [];
  const runner = client.beta.messages.toolRunner(ask("compare Paris and Rome", { tools: [GET_WEATHER], stream }));
  for await (const turn of runner) messages.push(stream ? await turn.finalMessage() : turn);
  const blocks = messages.flatMap((message) => message.content);
  return {
    stop_reasons: messages.map((message) => message.stop_reason),
    calls: blocks.filter((block) => block.type === "tool_use").map((block) => block.input),
    asked: thought(messages[0]),
    told: answer(messages.at(-1)),
  };
}

// What the scripted engine thinks it was asked; a model without a script does not say.
function thought(message) {
  const block = message.content.find((block) => block.type === "thinking");
  return block ? JSON.parse(block.thinking) : null;
}

async function retried(client) {
  const began = performance.now();
  const message = await client.messages.create(ask("overloaded twice"));
  return { ...answer(message), waited_s: (performance.now() - began) / 1_000 };
}

async function count(client) {
  const { max_tokens, ...prompt } = ask("say hello", { tools: [WEATHER] });
  const { usage } = await client.messages.create({ max_tokens, ...prompt });
  const counted = await client.messages.countTokens(prompt);
  const charged = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens;
  return { counted: counted.input_tokens, charged };
}

async function models(client) {
  const listed = [];
  for await (const model of client.models.list({ limit: 1 })) listed.push(model);
  const pages = [];
  for await (const page of (await client.models.list({ limit: 1 })).iterPages()) pages.push(page.data.length);
  const whole = (await client.models.list()).data;
  const one = await client.models.retrieve(listed[0].id);
  return {
    type: one.type,
    same: one.id === listed[0].id,
    picked: listed.some((model) => /claude|anthropic/.test(model.id)),
    paged: listed.map((model) => model.id),
    pages,
    whole: whole.map((model) => model.id),
  };
}

async function files(client) {
  const names = ["one", "two", "three"];
  const files = names.map((name) => new File([name.repeat(1_000)], `${name}.txt`, { type: "text/plain" }));
  const uploaded = [];
  for (const file of files) uploaded.push(await client.beta.files.upload({ file }));
  const listed = [];
  for await (const file of client.beta.files.list({ limit: 2 })) listed.push(file.id);
  const byId = [];
  for await (const file of client.beta.files.list({ ids: [uploaded[1].id, uploaded[0].id] })) byId.push(file.filename);
  const known = await client.beta.files.retrieveMetadata(uploaded[0].id);
  const content = await (await client.beta.files.download(uploaded[0].id)).text();
  const deleted = [];
  for (const file of uploaded) deleted.push((await client.beta.files.delete(file.id)).type);
  const passing = await client.beta.files.upload({ file: files[0], expires_in_seconds: 3_600 });
  await client.beta.files.delete(passing.id);
  return {
    filename: known.filename,
    mime_type: known.mime_type,
    size_bytes: known.size_bytes,
    newest_first: listed.join() === uploaded.map((file) => file.id).reverse().join(),
    by_id: byId.sort(),
    same: content === "one".repeat(1_000),
    deleted,
    expires_in_s: (Date.parse(passing.expires_at) - Date.parse(passing.created_at)) / 1_000,
    gone: await failure(() => client.beta.files.retrieveMetadata(uploaded[0].id)),
  };
}

async function batches(client) {
  const requests = [
    { custom_id: "hello", params: ask("say hello") },
    { custom_id: "dies", params: ask("die at once") },
    { custom_id: "wrong", params: ask("say hello", { max_tokens: -1 }) },
  ];
  const made = await client.messages.batches.create({ requests });
  const done = await endedBatch(client, made.id);
  const results = {};
  for await (const line of await client.messages.batches.results(made.id)) results[line.custom_id] = line.result;
  const other = await client.messages.batches.create({ requests: requests.slice(0, 1) });
  const listed = [];
  for await (const batch of client.messages.batches.list({ limit: 1 })) listed.push(batch.id);
  const canceled = await failure(() => client.messages.batches.cancel(other.id));
  await endedBatch(client, other.id);
  const deleted = [];
  for (const id of [made.id, other.id]) deleted.push((await client.messages.batches.delete(id)).type);
  return {
    made: [made.type, made.processing_status, made.request_counts.processing],
    hours: (Date.parse(made.expires_at) - Date.parse(made.created_at)) / 3_600_000,
    done: [done.processing_status, done.request_counts.succeeded, done.request_counts.errored],
    types: ["hello", "dies", "wrong"].map((name) => results[name].type),
    answer: answer(results.hello.message),
    errors: ["dies", "wrong"].map((name) => results[name].error.error.type),
    newest_first: listed.indexOf(other.id) < listed.indexOf(made.id),
    canceled: canceled.class ? canceled.status : 200,
    deleted,
    gone: await failure(() => client.messages.batches.retrieve(made.id)),
  };
}

async function endedBatch(client, id) {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    const batch = await client.messages.batches.retrieve(id);
    if (batch.processing_status === "ended") return batch;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${id} has not ended`);
}

async function brokenStream(client) {
  const seen = [];
  const failed = await failure(async () => {
    const stream = await client.messages.create(ask("die half-way", { stream: true }));
    for await (const event of stream) seen.push(event.type);
  });
  return { ...failed, began: seen.includes("content_block_delta"), ended: seen.includes("message_stop") };
}

const connect = (baseURL, apiKey = "dummy", maxRetries = 0) =>
  new Anthropic({ baseURL, apiKey, maxRetries, timeout: 60_000 });

// The parts that need no script.
async function anyModel(baseURL) {
  const client = connect(baseURL);
  return {
    create: await create(client),
    stream_events: await streamEvents(client),
    parsed: await parsed(client),
    count: await count(client),
    models: await models(client),
    files: await files(client),
    bad_request: await failure(() => client.messages.create(ask("say hello", { max_tokens: -1 }))),
  };
}

// Everything; the engine behind `baseURL` knows the cues.
async function allParts(baseURL, guardedURL) {
  const client = connect(baseURL);
  const failing = (text, more = {}, sending = {}) => failure(() => client.messages.create(ask(text, more), sending));
  return {
    ...(await anyModel(baseURL)),
    stream_helper: await streamHelper(client),
    tool_loop: await toolLoop(client),
    tool_runner: await toolRunner(client, false),
    streaming_tool_runner: await toolRunner(client, true),
    with_key: await create(connect(guardedURL, "right")),
    retried: await retried(connect(baseURL, "dummy", 2)),
    too_long: await failing("long ".repeat(40_000)),
    unauthenticated: await failure(() => create(connect(guardedURL, "wrong"))),
    forbidden: await failing("say hello", {}, { headers: { origin: "https://elsewhere.example" } }),
    unknown_model: await failing("say hello", { model: "no-such-model" }),
    unknown_model_info: await failure(() => client.models.retrieve("no-such-model")),
    too_large: await failing("x".repeat(TOO_LARGE)),
    batches: await batches(client),
    engine_failed: await failing("die at once"),
    overloaded: await failing("overloaded always"),
    broken_stream: await brokenStream(client),
  };
}

const urls = process.argv.slice(2);
const play = urls.length > 1 ? allParts : anyModel;
process.stdout.write(JSON.stringify(await play(...urls)));
