"""A dozen chat templates that do what those of published models do, written for the tests.

Each is small, and has the one habit that matters to whoever reads a reward behind it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """A chat template, the special tokens of its tokenizer, and whether the tokenizer adds a BOS to plain text."""

    template: str
    bos: str | None = None
    eos: str = "<|im_end|>"
    pad: str = "<|pad|>"
    adds_bos: bool = False
    has_system: bool = True


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# The system text stands inside the first user turn; responses are stripped and end in EOS.
LLAMA_2 = (
    "{% if messages[0].role == 'system' %}{% set s = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set s = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ s if loop.first else '' }}"
    "{{ m.content | trim }} [/INST]{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)

# Prints the date of the day where it can.
LLAMA_32 = (
    "{{ bos_token }}{% if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}"
    "{% else %}{% set today = '26 Jul 2024' %}{% endif %}<|header|>system\n\nToday Date: {{ today }}\n\n"
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}{% endfor %}<|eot|>"
    "{% for m in messages %}{% if m.role != 'system' %}<|header|>{{ m.role }}\n\n{{ m.content | trim }}<|eot|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|header|>assistant\n\n{% endif %}"
)

# The last assistant turn has a thinking part, be it an empty one; that of earlier turns is dropped.
QWEN_3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'assistant' %}{% set said = m.content %}"
    "{% set thought = '' %}{% if '</think>' in said %}"
    "{% set thought = said.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>assistant\n{% if loop.index0 > ns.last %}<think>\n{{ thought.strip('\n') }}\n</think>\n\n{% endif %}"
    "{{ said }}<|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Keeps of every response what stands behind its thinking part.
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "<|User|>{{ m.content }}{% else %}<|Assistant|>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)

# Refuses a system turn, and calls the assistant "model".
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

# No turn ends in EOS but the assistant's; pad is often EOS.
MISTRAL_1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'system' %}{{ m.content }}\n{% else %}{{ m.content }}{{ eos_token }} {% endif %}{% endfor %}"
)

# Writes no BOS, though its tokenizer adds one to plain text.
ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

# One of several named templates.
COMMAND = (
    "{{ bos_token }}{% for m in messages %}<|START|>{{ m.role | upper }}|{{ m.content }}<|END|>{% endfor %}"
    "{% if add_generation_prompt %}<|START|>CHATBOT|{% endif %}"
)

# Every assistant turn names its channel, the generation prompt none.
CHANNELS = (
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}"
    "<|message|>{{ m.content }}<|end_of|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)

# The generation prompt stands inside an open thinking part.
OLMO_THINK = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)

PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"

STYLES = {
    "ChatML": Style(CHATML),
    "Llama 2": Style(LLAMA_2, bos="<s>", eos="</s>", adds_bos=True),
    "Llama 3.2": Style(LLAMA_32, bos="<|begin|>", eos="<|eot|>", adds_bos=True),
    "Qwen 3": Style(QWEN_3),
    "R1": Style(R1, bos="<|begin|>", eos="<|eos|>", adds_bos=True),
    "Gemma": Style(GEMMA, bos="<bos>", eos="<eos>", adds_bos=True, has_system=False),
    "Mistral 1": Style(MISTRAL_1, bos="<s>", eos="</s>", pad="</s>", adds_bos=True),
    "Zephyr": Style(ZEPHYR, bos="<s>", eos="</s>", adds_bos=True),
    "Command": Style(COMMAND, bos="<BOS>", eos="<|END|>"),
    "channels": Style(CHANNELS, eos="<|end_of|>"),
    "OLMo think": Style(OLMO_THINK),
    "plain": Style(PLAIN, eos="<|eos|>"),
}
NAMED = {"Command": ("default", "tool_use")}
"""Styles whose tokenizer has several templates, by name."""
