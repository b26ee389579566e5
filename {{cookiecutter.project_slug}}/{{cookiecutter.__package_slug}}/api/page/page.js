// The page: forms made from the API's own description, and jobs as they happen.

const LOOK_AT_SERVICE_EVERY = 3000;
const TRY_AGAIN_AFTER = 2000;
const MOST_STREAMS = 3;
const FINAL = new Set(["succeeded", "failed", "cancelled"]);

const at = (id) => document.getElementById(id);
const followed = new Map();
let streams = 0;
let routes = new Map();
let next = null;

function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function say(text) {
  // Said again it would be read out again.
  if (at("connection").textContent !== text) at("connection").textContent = text;
}

async function ask(path, options = {}) {
  const headers = { "X-API-Key": sessionStorage.getItem("key") ?? "", ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
  if (answer.status === 401) leave(problem.detail);
  throw new Error(problem.detail);
}

function leave(reason) {
  sessionStorage.removeItem("key");
  for (const id of ["service", "start", "jobs"]) at(id).hidden = true;
  at("entrance").hidden = false;
  say(reason);
  at("key").focus();
}

// Forms

function schemaOf(description, schema) {
  const name = schema.$ref?.split("/").pop();
  return name ? description.components.schemas[name] : schema;
}

function readRoutes(description) {
  routes = new Map();
  for (const [path, { post }] of Object.entries(description.paths)) {
    const content = post?.requestBody?.content["application/json"];
    if (content) routes.set(post.operationId, { path, post, schema: schemaOf(description, content.schema) });
  }
  at("task").replaceChildren(...[...routes.keys()].map((name) => made("option", { value: name, textContent: name })));
}

// How a value of this schema is written in a field, and read from it again.
function kindOf(schema) {
  const chosen = schema.anyOf?.find((one) => one.type !== "null") ?? schema;
  if (chosen.enum) return { tag: "select", options: chosen.enum, read: (text) => text, write: String };
  if (chosen.type === "integer" || chosen.type === "number")
    return { tag: "input", type: "number", step: chosen.type === "integer" ? 1 : "any", read: Number, write: String };
  if (chosen.type === "string") return { tag: "input", type: "text", read: (text) => text, write: String };
  if (chosen.type === "array" && chosen.items?.type === "string")
    return {
      tag: "textarea",
      hint: "one on each line",
      read: (text) => text.split("\n").map((line) => line.trim()).filter(Boolean),
      write: (lines) => lines.join("\n"),
    };
  return { tag: "textarea", hint: "JSON", read: JSON.parse, write: JSON.stringify };
}

function showFields() {
  const { post, schema } = routes.get(at("task").value);
  const example = schema.examples?.[0] ?? {};
  at("summary").textContent = post.summary ?? "";
  at("outcome").textContent = "";
  const fields = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const kind = kindOf(property);
    const value = example[name] ?? property.default;
    const field = made(kind.tag, { id: `field-${name}`, name, required: schema.required?.includes(name) ?? false });
    if (kind.type) Object.assign(field, { type: kind.type, step: kind.step ?? "" });
    field.append(...(kind.options ?? []).map((option) => made("option", { value: option, textContent: option })));
    if (value !== undefined && value !== null) field.value = kind.write(value);
    const label = made("label", { htmlFor: field.id }, name);
    if (kind.hint) label.append(" ", made("small", { textContent: kind.hint }));
    return made("div", {}, label, field);
  });
  at("fields").replaceChildren(...fields);
}

async function submit(event) {
  event.preventDefault();
  const { path, schema } = routes.get(at("task").value);
  try {
    const values = {};
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      const text = at(`field-${name}`).value;
      if (text !== "" || schema.required?.includes(name)) values[name] = kindOf(property).read(text);
    }
    const headers = { "Content-Type": "application/json" };
    const job = await (await ask(path, { method: "POST", headers, body: JSON.stringify(values) })).json();
    at("outcome").textContent = `Submitted as ${job.id}.`;
    if (job.links && ["", job.state].includes(at("state").value)) {
      at("none").hidden = true;
      at("list").prepend(row(job));
    }
  } catch (error) {
    at("outcome").textContent = error.message;
  }
}

// Jobs

function row(job) {
  const item = made("li", { id: `job-${job.id}` });
  draw(item, job);
  if (!FINAL.has(job.state)) follow(item, job);
  return item;
}

function draw(item, job) {
  const parts = [
    made("strong", { textContent: job.task ?? job.id }),
    made("span", { className: "word", textContent: job.state }),
  ];
  if (job.submitted_at)
    parts.push(made("time", { dateTime: job.submitted_at, textContent: new Date(job.submitted_at).toLocaleTimeString() }));
  if (job.links.cancel && !FINAL.has(job.state)) {
    const button = item.querySelector("button") ?? made("button", { type: "button", textContent: "Cancel" });
    button.setAttribute("aria-label", `Cancel ${job.task ?? job.id}`);
    button.onclick = () => cancel(job, button);
    parts.push(button);
  }
  const hadFocus = item.contains(document.activeElement);
  item.className = job.state;
  item.replaceChildren(made("div", { className: "head" }, ...parts));
  if (job.progress && !FINAL.has(job.state)) {
    const { done, total, note } = job.progress;
    const bar = made("progress", { value: done, max: total || 1 });
    bar.setAttribute("aria-label", `${job.task ?? job.id}: ${done} of ${total}`);
    item.append(bar, made("small", { textContent: `${done} of ${total} ${note}` }));
  }
  if (job.error) item.append(made("pre", { textContent: `${job.error.type}: ${job.error.message}` }));
  if (job.state === "succeeded") item.append(made("pre", { textContent: JSON.stringify(job.result, null, 2) }));
  if (hadFocus) item.querySelector("button")?.focus();
}

async function cancel(job, button) {
  button.disabled = true;
  try {
    await ask(job.links.cancel, { method: "POST" });
  } catch (error) {
    say(error.message);
    button.disabled = false;
  }
}

// Shows a job until it ends. A browser opens six connections to one server, and the page needs some.
async function follow(item, job) {
  const end = new AbortController();
  followed.set(job.id, end);
  while (!end.signal.aborted && !FINAL.has(job.state)) {
    try {
      job = streams < MOST_STREAMS ? await stream(item, job, end.signal) : await look(item, job, end.signal);
    } catch (error) {
      if (end.signal.aborted || !sessionStorage.getItem("key")) return;
      say(error.message);
    }
    // With many the page asks for each less often, or it would reach the limit of its key.
    const pause = TRY_AGAIN_AFTER * Math.max(1, followed.size / 5);
    if (!FINAL.has(job.state)) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  followed.delete(job.id);
}

// The browser's own EventSource cannot name a key.
async function stream(item, job, signal) {
  streams += 1;
  try {
    const answer = await ask(job.links.events, { signal });
    for await (const { event, data } of eventsOf(answer.body)) {
      job = event === "progress" ? { ...job, state: "running", progress: data } : data;
      draw(item, job);
    }
    return job;
  } finally {
    streams -= 1;
  }
}

async function look(item, job, signal) {
  const found = await (await ask(job.links.self, { signal })).json();
  draw(item, found);
  return found;
}

async function* eventsOf(body) {
  // Safari has no `for await` over a body.
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
        if (fields.event) yield { event: fields.event, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function showJobs(older = false) {
  const query = new URLSearchParams({ limit: 20 });
  if (at("state").value) query.set("state", at("state").value);
  if (older) query.set("after", next);
  const page = await (await ask(`/api/jobs?${query}`)).json();
  if (!older) {
    for (const end of followed.values()) end.abort();
    followed.clear();
    at("list").replaceChildren();
  }
  at("list").append(...page.jobs.map(row));
  next = page.next;
  at("more").hidden = next === null;
  at("none").hidden = at("list").children.length > 0;
}

// Service

async function showService() {
  try {
    const { queues, workers, dead_letters } = await (await ask("/api/service")).json();
    const figures = Object.entries(queues).map(([name, waiting]) => [`waiting in ${name}`, waiting, false]);
    if (workers) {
      const active = workers.reduce((sum, worker) => sum + worker.active, 0);
      figures.unshift(["workers", workers.length, workers.length === 0], ["running", active, false]);
    }
    figures.push(["dead letters", dead_letters, dead_letters > 0]);
    at("figures").replaceChildren(
      ...figures.map(([name, value, bad]) =>
        made("div", {}, made("dt", { textContent: name }), made("dd", { textContent: value, className: bad ? "bad" : "" })),
      ),
    );
    say("Connected");
  } catch (error) {
    if (!sessionStorage.getItem("key")) return;
    say(error.message);
  }
  setTimeout(showService, LOOK_AT_SERVICE_EVERY);
}

async function enter() {
  try {
    const description = await (await fetch("openapi.json")).json();
    readRoutes(description);
    showFields();
    const hasJobs = "/api/jobs" in description.paths;
    await ask("/api/service");
    at("entrance").hidden = true;
    at("service").hidden = at("start").hidden = false;
    at("jobs").hidden = !hasJobs;
    if (hasJobs) await showJobs();
    // Last, because it goes on by itself, and all of this may be tried again.
    showService();
  } catch (error) {
    say(error.message);
    if (sessionStorage.getItem("key")) setTimeout(enter, TRY_AGAIN_AFTER);
  }
}

at("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", at("key").value.trim());
  enter();
});
at("task").addEventListener("change", showFields);
at("submission").addEventListener("submit", submit);
at("state").addEventListener("change", () => showJobs().catch((error) => say(error.message)));
at("more").addEventListener("click", () => showJobs(true).catch((error) => say(error.message)));

const given = new URLSearchParams(location.hash.slice(1)).get("key");
if (given) {
  sessionStorage.setItem("key", given);
  history.replaceState(null, "", location.pathname);
}
if (sessionStorage.getItem("key")) enter();
else leave("Enter the API key");
