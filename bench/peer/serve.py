"""The obvious program: transformers and PEFT behind FastAPI and uvicorn, one adapter at a time. serve.py JOB PORT

POST /classify {"model": "p0", "input": "…"}: the labels' log-probabilities behind the text, by that adapter."""

import json
import sys
import threading

import torch
import uvicorn
from fastapi import FastAPI
from peft import PromptTuningConfig, TaskType, get_peft_model
from pydantic import BaseModel
from transformers import AutoModelForCausalLM, AutoTokenizer

job, port = json.loads(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(job["model"])
base = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).eval().requires_grad_(False)
config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=job["P"])
model = get_peft_model(base, config, adapter_name="p0")
for i in range(1, job["prompts"]):
    model.add_adapter(f"p{i}", config)
model.eval()
label_ids = [tokenizer.encode(" " + label)[0] for label in job["labels"]]
lock = threading.Lock()
app = FastAPI()


class Ask(BaseModel):
    model: str
    input: str


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/classify")
def classify(ask: Ask):
    inputs = tokenizer(f"{ask.input} It was", return_tensors="pt")
    with lock, torch.no_grad():
        model.set_adapter(ask.model)
        logits = model(**inputs, logits_to_keep=1).logits
    scores = logits[0, -1].log_softmax(-1)[label_ids].tolist()
    return {"label": job["labels"][scores.index(max(scores))], "scores": scores}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
