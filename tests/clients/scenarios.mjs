// `node scenarios.mjs NAME` does what an application does with openai-node and prints what it got as one line of JSON.
// OPENAI_BASE_URL and OPENAI_API_KEY say where to. LONG_PROMPT holds the user message of the scenarios named `long`.

import OpenAI, { toFile } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const openai = new OpenAI({ maxRetries: 0 });
const model = "gpt-4o";
const hello = [{ role: "user", content: "Hello?" }];
const long = [{ role: "user", content: process.env.LONG_PROMPT ?? "" }];
const tool = (name) => ({ type: "function", function: { name, parameters: { type: "object", properties: {} } } });
const tools = [tool("weather"), tool("time")];
const chat = (messages, more = {}) => openai.chat.completions.create({ model, messages, ...more });

async function streamed(messages) {
  const stream = await chat(messages, { stream: true, stream_options: { include_usage: true } });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, prompt_tokens: usage.prompt_tokens };
}

async function errors() {
  try {
    await chat(hello);
  } catch (error) {
    return { status: error.status, code: error.code, id: error.requestID, retry: error.headers.get("retry-after") };
  }
}

const scenarios = {
  chat: async () => (await chat(hello)).choices[0].message.content,
  long_chat: async () => (await chat(long)).choices[0].message.content,
  stream: () => streamed(hello),
  long_stream: () => streamed(long),
  tools: async () => (await chat(hello, { tools })).choices[0].message.tool_calls.map((call) => call.function.name),
  stream_tools: async () => {
    const stream = openai.chat.completions.stream({ model, messages: hello, tools });
    return (await stream.finalMessage()).tool_calls.map((call) => call.function.name);
  },
  structured: async () => {
    const place = z.object({ city: z.string() });
    const options = { model, messages: hello, response_format: zodResponseFormat(place, "place") };
    return (await openai.chat.completions.parse(options)).choices[0].message.parsed;
  },
  image: async () => {
    const url = "data:image/png;base64,iVBORw0KGgo=";
    const content = [{ type: "text", text: "What is this?" }, { type: "image_url", image_url: { url } }];
    return (await chat([{ role: "user", content }])).choices[0].message.content;
  },
  embeddings: async () => {
    const input = "x";
    const options = { model: "text-embedding-3-small", input, encoding_format: "float" };
    return (await openai.embeddings.create(options)).data[0].embedding;
  },
  models: async () => (await openai.models.list()).data.map((it) => it.id),
  responses: async () => (await openai.responses.create({ model, input: "Hello?" })).output_text,
  files: async () => {
    const file = await toFile(Buffer.from("{}\n"), "a.jsonl");
    return (await openai.files.create({ file, purpose: "batch" })).id;
  },
  transcription: async () => {
    const file = await toFile(Buffer.from([0x52, 0x49, 0x46, 0x46, 0x00, 0xff]), "a.wav");
    return (await openai.audio.transcriptions.create({ model: "whisper-1", file })).text;
  },
  speech: async () => {
    const answer = await openai.audio.speech.create({ model: "tts-1", voice: "alloy", input: "x" });
    return Buffer.from(await answer.arrayBuffer()).toString("hex");
  },
  errors,
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));
