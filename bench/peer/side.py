"""The peers' side of a bench, a program that ../driver/sides.mjs starts: trains a soft prompt with
transformers as a job says, some steps for each line that it reads, and answers with what they took.

Kinds: `peft`, PEFT's prompt tuning of a causal model, a prefix, with a label of `targetTokens`; `compiled`, [prompt | text] by hand, with logits where the
label is predicted only, by `torch.compile` as `compile` says; `score`, log-probabilities of two labels with several
adapters, the rows of a batch grouped by adapter; `suffix`, [text | prompt] by hand, with
logits where the label is predicted only; `t5`, a soft prompt at the encoder; `t5-generate`, the same as it continues
texts, greedily; `generate`, a causal model that does, behind a soft prompt: both with the `cache` that is named, transformers' own
choice without."""

import json
import random
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.generation import BaseStreamer

job = json.loads(sys.argv[1])
lengths, batch_size, P, steps = job["lengths"], job["batchSize"], job["P"], job["steps"]
device, dtype = job.get("device", "cpu"), getattr(torch, job.get("dtype") or "float32")
torch.set_default_device(device)
torch.manual_seed(0)
Model = AutoModelForSeq2SeqLM if job["kind"].startswith("t5") else AutoModelForCausalLM
model = Model.from_pretrained(job["model"], dtype=dtype).eval().requires_grad_(False).to(device)
if model.config.pad_token_id is None:
    model.config.pad_token_id = 0
H = model.get_input_embeddings().weight.shape[1]
FILLER, LABEL, END = 7, 8, 1

if job["kind"] in ("peft", "score"):
    from peft import PromptTuningConfig, TaskType, get_peft_model

    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=P)
    adapters = [str(i) for i in range(job.get("prompts", 1))]
    model = get_peft_model(model, config, adapter_name=adapters[0])
    for name in adapters[1:]:
        model.add_adapter(name, config)
    model.set_adapter(adapters[0])
    model.eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
else:
    prompt = torch.nn.Parameter(torch.randn(P, H) * 0.02)
    parameters = [prompt]
optimizer = torch.optim.Adam(parameters, lr=1e-3)


def batches():
    """Shuffled rows without end, padded to the longest of each batch."""
    order = list(range(len(lengths)))
    shuffle = random.Random(0)
    while True:
        shuffle.shuffle(order)
        for i in range(0, len(order) - batch_size + 1, batch_size):
            own = torch.tensor([lengths[row] for row in order[i : i + batch_size]])
            T = int(own.max())
            mask = torch.arange(T)[None] < own[:, None]
            yield own, torch.full((batch_size, T), FILLER), mask


def peft_loss(own, ids, mask):
    # [text | label], right-padded
    B, T = ids.shape
    K = job.get("targetTokens", 1)
    rows, at = torch.arange(B)[:, None], own[:, None] + torch.arange(K)
    ids = torch.cat([ids, torch.full((B, K), FILLER)], 1)
    ids[rows, at] = LABEL
    labels = torch.full_like(ids, -100)
    labels[rows, at] = LABEL
    mask = torch.cat([mask, torch.zeros(B, K, dtype=torch.bool)], 1)
    mask[rows, at] = True
    return model(input_ids=ids, attention_mask=mask.long(), labels=labels).loss


def prefix_loss(own, ids, mask):
    B, T = ids.shape
    tokens = model.get_input_embeddings()(ids)
    x = torch.cat([prompt.to(dtype).expand(B, P, H), tokens], 1)
    hidden = model.transformer(inputs_embeds=x, use_cache=False).last_hidden_state
    asked = hidden[torch.arange(B), own + P - 1]
    return torch.nn.functional.cross_entropy(model.lm_head(asked).float(), torch.full((B,), LABEL))


if job["kind"] == "compiled" and job.get("compile"):
    prefix_loss = torch.compile(prefix_loss, mode=job["compile"])


def suffix_loss(own, ids, mask):
    B, T = ids.shape
    tokens = model.get_input_embeddings()(ids)
    joined = torch.cat([prompt.expand(B, P, H), tokens], 1)
    # A row's own text, the prompt, then padding: right-padded causal rows need no mask.
    at = torch.arange(P + T).expand(B, -1)
    is_text, is_prompt = at < own[:, None], (at >= own[:, None]) & (at < own[:, None] + P)
    order = torch.where(is_text, P + at, torch.where(is_prompt, at - own[:, None], at))
    x = joined.gather(1, order[..., None].expand(-1, -1, H))
    hidden = model.transformer(inputs_embeds=x, use_cache=False).last_hidden_state
    asked = hidden[torch.arange(B), own + P - 1]
    return torch.nn.functional.cross_entropy(model.lm_head(asked), torch.full((B,), LABEL))


def t5_loss(own, ids, mask):
    B, T = ids.shape
    x = torch.cat([prompt.to(dtype).expand(B, P, H), model.get_input_embeddings()(ids)], 1)
    mask = torch.cat([torch.ones(B, P, dtype=torch.bool), mask], 1)
    labels = torch.tensor([[LABEL, END]]).repeat(B, 1)
    return model(inputs_embeds=x, attention_mask=mask.long(), labels=labels).loss


@torch.no_grad()
def score_batch():
    size = batch_size // len(adapters)
    ids = torch.full((size, lengths[0]), FILLER)
    mask = torch.ones_like(ids)
    asked = {"logits_to_keep": 1} if job["lastLogits"] else {}
    scores = []
    for name in adapters:
        model.set_adapter(name)
        logits = model(input_ids=ids, attention_mask=mask, **asked).logits
        scores.append(logits[:, -1].log_softmax(-1)[:, [LABEL, END]])
    return torch.cat(scores)


class FirstTokens(BaseStreamer):
    """When the first new tokens were there: `generate` gives what a decoder starts from, then each step's tokens."""

    def __init__(self):
        self.calls, self.at = 0, 0.0

    def put(self, tokens):
        self.calls += 1
        if self.calls == 2:
            self.at = time.perf_counter()

    def end(self):
        pass


@torch.no_grad()
def continue_texts():
    """Seconds from the first tokens to the last ones."""
    B, T, N = len(lengths), lengths[0], job["newTokens"]
    tokens = model.get_input_embeddings()(torch.full((B, T), FILLER))
    x = torch.cat([prompt.to(dtype).expand(B, P, H), tokens], 1)
    is_t5 = job["kind"] == "t5-generate"
    given = {"encoder_outputs": model.get_encoder()(inputs_embeds=x)} if is_t5 else {"inputs_embeds": x}
    first = FirstTokens()
    mask = torch.ones(B, P + T, dtype=torch.int64)
    made = model.generate(
        **given,
        attention_mask=mask,
        cache_implementation=job.get("cache"),
        do_sample=False,
        min_new_tokens=N,
        max_new_tokens=N,
        streamer=first,
    )
    assert made.shape == (B, N + is_t5)
    return time.perf_counter() - first.at


losses = {"peft": peft_loss, "compiled": prefix_loss, "suffix": suffix_loss, "t5": t5_loss}
loss_of = losses.get(job["kind"])
order = batches()


def advance(count):
    if job["kind"] == "score":
        for _ in range(count):
            scores = score_batch()
        return {"mean": scores.mean().item()}
    if job["kind"] in ("generate", "t5-generate"):
        return {"seconds": continue_texts()}
    for _ in range(count):
        optimizer.zero_grad()
        loss = loss_of(*next(order))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return {"loss": loss.item()}


advance(job.get("warmSteps", 1))
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    found = advance(steps)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peakMemoryBytes": peak, **found}), flush=True)
