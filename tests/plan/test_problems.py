"""Every mistake stops before any job: the key's path, what was given, what is allowed, the nearest right word."""

import pytest

from consomme.common.errors import ConsommeError
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

MODELS = "experiments/e/models"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"experiments/e/data": {"train": "a-train"}, "experiments/e/claims": [], MODELS: {"raw": {"from": {"scratch": {"family": "ctc"}}}}}, ["experiments.e.data: no set to score models on", "dev, test"]),
        ({f"{MODELS}/tuned/bf16": True}, ["models.tuned.bf16: unknown key; write precision: bfloat16"]),
        ({f"{MODELS}/tuned/fp16": True}, ["models.tuned.fp16: unknown key; write precision: float16"]),
        ({f"{MODELS}/tuned/track": "wandbs"}, ["models.tuned.track", "did you mean 'wandb'"]),
        ({f"{MODELS}/tuned/sweep": {"grid": {"track": ["wandb", "mlflow"]}}}, ["track=mlflow", "are one model", "can't be swept"]),
        ({f"{MODELS}/mean/method": "adapters"}, ["mean.average", "'tuned/data.share=0.5,learning_rate=1e-05' keeps none: lora: {keep: true}"]),
        ({f"{MODELS}/mean/method": "adapters", f"{MODELS}/tuned/lora": {"keep": True, "use_dora": True}}, ["DoRA", "use uniform"]),
        (
            {f"{MODELS}/mean/method": "adapters", f"{MODELS}/tuned/lora": {"keep": True}, f"{MODELS}/tuned/sweep": {"grid": {"lora.r": [4, 8]}}},
            ["tuned/lora.r=4", "tuned/lora.r=8", "differ in r"],
        ),
        ({f"{MODELS}/base/timestamps": 0.2}, ["base.timestamps", "'ctc' writes no timestamps", "whisper"]),
        ({f"{MODELS}/base/previous_text": 0.2}, ["base.previous_text", "'ctc' takes no earlier text"]),
        ({f"{MODELS}/base/previous_text": 1.2}, ["base.previous_text", "less than or equal to 1"]),
        ({f"{MODELS}/base/timestamps": 0.2, f"{MODELS}/raw/from": {"scratch": {"family": "whisper"}}}, ["base.timestamps", "made from scratch", "published Whisper"]),
        ({f"{MODELS}/mean/quorum": 5}, ["models.mean.quorum: 5 given, and there are 4 models to average", "tuned/"]),
        ({f"{MODELS}/mean/quorum": 0}, ["models.mean.quorum", "greater than or equal to 1"]),
        ({f"{MODELS}/tuned/gpus": 0}, ["models.tuned.gpus", "greater than or equal to 1"]),
        ({f"{MODELS}/tuned/nodes": 1.5}, ["models.tuned.nodes"]),
        ({f"{MODELS}/tuned/gpus": 2, f"{MODELS}/tuned/torch_compile": True}, ["torch_compile is for one GPU"]),
        ({f"{MODELS}/tuned/shard_optimizer": True}, ["tuned", "needs gpus or nodes"]),
        (
            {f"{MODELS}/tuned/shard_optimizer": True, f"{MODELS}/tuned/gpus": 2, f"{MODELS}/tuned/optim": "muon"},
            ["optim: muon is two optimizers as one"],
        ),
        ({f"{MODELS}/tuned/shard_weights": True}, ["tuned", "shard_weights", "needs gpus or nodes"]),
        (
            {f"{MODELS}/tuned/shard_weights": True, f"{MODELS}/tuned/gpus": 2, f"{MODELS}/tuned/lora": {"r": 2}},
            ["lora and shard_weights"],
        ),
        (
            {f"{MODELS}/base/shard_weights": True, f"{MODELS}/base/gpus": 2, f"{MODELS}/base/shard_optimizer": True},
            ["base", "leave shard_optimizer out"],
        ),
        (
            {f"{MODELS}/base/shard_weights": True, f"{MODELS}/base/gpus": 2, f"{MODELS}/base/optim": "adafactor"},
            ["optim: adafactor makes steps of whole matrices", "allowed with it: adamw_torch_fused, sgd, lion"],
        ),
        (
            {f"{MODELS}/base/shard_weights": True, f"{MODELS}/base/gpus": 2, f"{MODELS}/base/checkpoints": {"every": 2, "ema": 0.9}},
            ["checkpoints.ema", "keep the last or best ones"],
        ),
        ({f"{MODELS}/tuned/save_minutes": 0}, ["models.tuned.save_minutes", "greater than 0"]),
        ({f"{MODELS}/tuned/learning_rat": 1}, ["models.tuned.learning_rat", "unknown key", "did you mean 'learning_rate'", "allowed"]),
        ({f"{MODELS}/base/train": "row"}, ["models.base.train", "no model 'row'", "did you mean 'raw'", "allowed: raw"]),
        ({f"{MODELS}/base/train": "half"}, ["a cycle", "base", "→"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": 3}}}, ["bare integer", "[3]", "1/3"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "3"}}}, ["bare integer"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": 0}}}, ["layers count from 1"]),
        ({f"{MODELS}/half/layers": {"encoder": {"keep": [1, 2, 3, 4, 5, 6]}}}, ["all 6 layers of the encoder", "nothing would be pruned"]),
        ({f"{MODELS}/half": {"prune": "mean", "heads": {"drop": 5}}}, ["strictly between 0 and 1", "1/4"]),
        ({f"{MODELS}/half": {"prune": "mean", "width": {"drop": [2]}}}, ["a fraction is needed here"]),
        ({f"{MODELS}/half": {"prune": "mean", "vocabulary": {"keep": "used"}}}, ["vocabulary", "CTC head", "possible: ", "whisper"]),
        ({f"{MODELS}/half": {"prune": "mean", "vocabulary": {"keep": "all"}}}, ["vocabulary.keep", "used"]),
        (
            {f"{MODELS}/half": {"prune": "mean", "layers": {"encoder": {"drop": "1/2", "by": "learned"}}, "metric": "wer"}},
            ["half.metric", "only these need a metric", "greedy"],
        ),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": 1.0, "by": "uniform"}}}, ["strictly between 0 and 1"]),
        ({f"{MODELS}/half/layers": {"encoder": {"keep": [1, 7]}}}, ["no layer 7", "layers 1 to 6"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": [1, 2, 3, 4, 5, 6]}}}, ["none of the 6 layers"]),
        ({f"{MODELS}/half/layers": {"decoder": {"keep": [1]}}}, ["'ctc' has no decoder"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/3", "by": "unifrom"}}}, ["did you mean 'uniform'"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/3"}}}, ["needs `by`"]),
        ({f"{MODELS}/half/layers": {"encoder": {"keep": [1, 3], "merge": "man"}}}, ["half.layers.encoder.merge", "did you mean 'mean'", "'laco'"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/3", "by": "truncate", "of": "sublayers", "merge": "mean"}}}, ["half.layers.encoder", "for whole layers"]),
        ({f"{MODELS}/half/heads": {"drop": [1]}}, ["half.heads.drop", "a fraction is needed here"]),
        ({f"{MODELS}/half/heads": {"drop": "1/4", "by": "tailor"}}, ["half.heads.by", "did you mean 'taylor'"]),
        ({f"{MODELS}/half/heads": {"drop": "1/4", "per": "layers"}}, ["half.heads.per", "did you mean 'layer'"]),
        ({f"{MODELS}/half/heads": {"drop": "7/8", "by": "random"}}, ["half.heads.drop", "7/8 of 12 heads are 11", "3 attention modules", "9 can go at most"]),
        ({f"{MODELS}/half/heads": {"drop": "1/8"}, f"{MODELS}/raw/from": {"scratch": {"family": "ctc", "num_attention_heads": 1}}}, ["half.heads.drop", "one head, which has to stay"]),
        ({f"{MODELS}/half/width": {"drop": [1]}}, ["half.width.drop", "a fraction is needed here"]),
        ({f"{MODELS}/half/width": {"drop": 1}}, ["half.width.drop", "1/4"]),
        ({f"{MODELS}/half/width": {"drop": "1/4", "by": "tailor"}}, ["half.width.by", "did you mean 'taylor'"]),
        ({f"{MODELS}/half/width": {"drop": "1/4", "by": "leave_one_out"}}, ["half.width.by", "too many neurons", "taylor, magnitude, random"]),
        ({f"{MODELS}/half/width": {"drop": "1/4", "sides": ["encodr"]}}, ["half.width.sides", "did you mean 'encoder'"]),
        ({f"{MODELS}/half/width": {"drop": "1/4", "sides": ["decoder"]}}, ["half.width.sides", "'ctc' has no decoder"]),
        ({f"{MODELS}/half/width": {"drop": "1/4", "sides": []}}, ["half.width.sides", "one at least"]),
        ({f"{MODELS}/half/width": {"drop": "1/4"}, f"{MODELS}/raw/from": {"scratch": {"family": "ctc", "intermediate_size": 1}}}, ["half.width.drop", "1/4 of 1 neuron"]),
        ({f"{MODELS}/raw/from": {"scratch": {"family": "ctc", "intermediate_size": 0}}}, ["scratch.intermediate_size", "greater than or equal to 1"]),
        ({f"{MODELS}/thin": {"prune": "base", "width": {"drop": "1/2", "by": "magnitude"}}, f"{MODELS}/mean/average": ["base", "thin"]}, ["different widths", "'intermediate_size': 128", "'intermediate_size': 64"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": [2], "of": "sublayers"}}}, ["half.layers.encoder", "is only for a fraction"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/3", "by": "greedy", "of": "sublayer"}}}, ["half.layers.encoder.of", "did you mean 'sublayers'"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/3", "by": "angular", "of": "sublayers"}}}, ["half.layers.encoder.by", "looks at whole layers", "uniform"]),
        ({f"{MODELS}/soup/method": "gready"}, ["did you mean 'greedy'", "allowed"]),
        ({f"{MODELS}/soup/where": {"learning_rat": 1}}, ["no swept key 'learning_rat'", "did you mean 'learning_rate'"]),
        ({f"{MODELS}/soup/where": {"learning_rate": 7}}, ["no run has 7", "1e-05, 3e-05"]),
        ({f"{MODELS}/mean/by": "seed"}, ["no swept key 'seed'"]),
        ({f"{MODELS}/mean/choose_on": {"b": "best"}}, ["has no use here"]),
        ({f"{MODELS}/mean": {"average": "tuned/best", "method": "last"}}, ["mean.method", "keeps none; its node needs checkpoints with `last`"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ensemble"}, f"{MODELS}/again": {"train": "mean", "max_steps": 1}}, ["models.again", "an ensemble has no weights"]),
        ({f"{MODELS}/mean": {"average": ["base", "tuned/best"], "method": "ema"}}, ["mean.average", "takes exactly 1"]),
        ({f"{MODELS}/mean/metric": "wer"}, ["mean.metric", "has no use here: uniform chooses nothing"]),
        ({f"{MODELS}/mean/points": 5}, ["mean.points", "belongs to another method than uniform"]),
        ({f"{MODELS}/line": {"average": ["base", "soup"], "method": "interpolate", "alpha": 0.5, "points": 5}}, ["line.points", "alpha is given"]),
        ({f"{MODELS}/half/choose_on": {"b": "best"}}, ["half.choose_on", "nothing is searched"]),
        ({f"{MODELS}/half/metric": "wer"}, ["half.metric", "nothing is searched"]),
        ({f"{MODELS}/mean/average": ["base", "half"]}, ["different depths", "base", "half"]),
        ({f"{MODELS}/mean/density": 0.5}, ["belongs to another method", "ties, dare_linear, dare_ties"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties"}}, ["mean.density", "ties needs it"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties", "density": 0}}, ["mean.density", "greater than 0"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties", "density": 1, "base": "tuned"}}, ["mean.base", "has 4 runs"]),
        ({f"{MODELS}/mean": {"average": ["base", "tuned"], "method": "model_stock"}}, ["mean.base", "their parents: raw, base"]),
        ({f"{MODELS}/mean": {"average": ["base", "tuned"], "method": "model_stock", "base": "base"}}, ["'base' is one of the models"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "weighted"}}, ["mean.weights", "weighted needs it"]),
        ({f"{MODELS}/mean": {"average": "tuned", "choose": {"grid": {"scale": [1]}}}}, ["mean.choose", "no setting of uniform that can be chosen 'scale'", "allowed: none"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "tsv", "choose": {"grid": {"scal": [1]}}}}, ["mean.choose", "did you mean 'scale'", "allowed: scale, rank, boost"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "tsv", "scale": 1, "choose": {"grid": {"scale": [1]}}}}, ["mean.scale: is given, and stands in `choose` too"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties", "choose": {"grid": {"density": [0.5, 2]}}}}, ["mean.choose.density", "less than or equal to 1", "2"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties", "choose": {"grid": {"scale": [1]}}}}, ["mean.density", "ties needs it"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties", "choose": {"points": [{"density": 1}, {"scale": 1}]}}}, ["mean.choose.density", "ties needs it"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties", "choose": {"points": []}}}, ["mean.choose.points", "at least one point"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "ties", "choose": {"density": [1]}}}, ["mean.choose.density: unknown key", "grid, points, random"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "weighted", "choose": {"grid": {"weights": [[1, 1, 1, 1], [1, 2]]}}}}, ["mean.choose.weights", "2 given for 4 models"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "della", "choose": {"grid": {"density": [0.5, 0.05]}}}}, ["mean.choose", "epsilon is at most 0.1"]),
        ({f"{MODELS}/mean": {"average": "tuned/best", "method": "last", "choose": {"grid": {"count": [2, 9]}}}, f"{MODELS}/tuned/checkpoints": {"every": 2, "last": 5}}, ["mean.choose.count", "9 given", "keeps 5"]),
        ({f"{MODELS}/mean": {"average": "tuned/best", "method": "window", "choose": {"grid": {"from_step": [0, 4], "to_step": [4]}}}, f"{MODELS}/tuned/checkpoints": {"every": 2, "mean": True}}, ["mean.choose", "after step 4 up to step 4", "empty"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "weighted", "weights": [1, 2]}}, ["2 given for 4 models", "tuned/"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "weighted", "weights": {"encoder": [1]}}}, ["mean.weights.encoder", "1 given for 4"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "weighted", "weights": [1, -1, 1, -1]}}, ["their sum is 0"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "task_arithmetic", "weights": {"encoder": [1, 1, 1, 1]}}}, ["takes a list"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "learned", "groups": "layers"}}, ["did you mean 'layer'"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "fisher", "choose_on": {"a": "best", "b": {"lose_at_most": 1, "of": "base"}}}}, ["mean.choose_on.b", "lose_at_most belongs to"]),
        ({f"{MODELS}/soup/steps": 5}, ["soup.steps", "belongs to another method than greedy: learned"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "slerp", "alpha": 0.5}}, ["takes exactly 2 models", "4 given"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "smallest"}}, ["mean.choose_on", "smallest needs a limit", "lose_at_most"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "smallest", "choose_on": {"a": "best"}}}, ["mean.choose_on", "smallest needs a limit"]),
        ({f"{MODELS}/mean": {"average": "tuned", "method": "smallest", "alpha": 0.5, "choose_on": {"a": {"lose_at_most": 1, "of": "base"}}}}, ["mean.alpha", "belongs to another method"]),
        ({f"{MODELS}/line/average": ["base", "tuned"]}, ["takes exactly 2 models", "base, tuned"]),
        ({f"{MODELS}/line/choose_on": {"c": "best"}}, ["no development set 'c'", "allowed: a, b"]),
        ({f"{MODELS}/line/choose_on": {"a": {"lose_at_most": 1, "of": "base"}}}, ["at least one development set must be `best`"]),
        ({f"{MODELS}/line/choose_on": {"b": "bets"}}, ["choose_on.b"]),
        ({f"{MODELS}/healed/distil_from": "tuned"}, ["has 4 runs"]),
        ({f"{MODELS}/healed/distil": {"hidden": 0}}, ["distil.hidden", "greater than 0"]),
        ({f"{MODELS}/healed/distil": {"weight": 1}, f"{MODELS}/healed/intermediate_ctc": {"spread": 1}}, ["intermediate_ctc is part of the task's loss"]),
        ({f"{MODELS}/line": {"average": "tuned", "method": "ensemble"}, f"{MODELS}/half/prune": "base", f"{MODELS}/healed/distil": {"hidden": 0.5}}, ["healed.distil.hidden", "'line' is an ensemble"]),
        ({f"{MODELS}/raw2": {"from": {"scratch": {"family": "ctc", "num_hidden_layers": 4}}}, f"{MODELS}/healed": {"train": "half", "distil_from": "raw2", "max_steps": 1, "distil": {"hidden": 0.5}}}, ["healed.distil.hidden", "come from different models"]),
        ({f"{MODELS}/healed": {"train": "line", "distil_from": "half", "max_steps": 1, "distil": {"hidden": 0.5}}}, ["'line' has 6 encoder layers and its teacher 'half' 3"]),
        ({f"{MODELS}/base/learning_rate": 0}, ["learning_rate", "greater than 0"]),
        ({f"{MODELS}/tuned/warmup_steps": 9}, ["longer than the run"]),
        ({f"{MODELS}/tuned/num_train_epochs": 9}, ["one of max_steps, num_train_epochs"]),
        ({f"{MODELS}/tuned/early_stopping_patience": 2}, ["need eval_steps"]),
        ({f"{MODELS}/tuned/label_smoothing_factor": 0.1}, ["has no label smoothing"]),
        ({f"{MODELS}/tuned/intermediate_ctc": {"layers": [6]}}, ["intermediate_ctc.layers", "6 given", "layers 1 to 5"]),
        ({f"{MODELS}/tuned/intermediate_ctc": {"spread": 6}}, ["intermediate_ctc.spread", "only 5 layers"]),
        ({f"{MODELS}/tuned/intermediate_ctc": {"weight": 0.3}}, ["one of layers, spread, random"]),
        ({f"{MODELS}/tuned/intermediate_ctc": {"layers": [3], "weight": 1}}, ["intermediate_ctc.weight", "less than 1"]),
        ({f"{MODELS}/tuned/momentum": 0.9}, ["tuned.momentum", "another optimizer than adamw_torch_fused: sgd, muon"]),
        ({f"{MODELS}/tuned/lr_scheduler_kwargs": {"min_lr_rate": 0.1}}, ["cosine has no min_lr_rate", "num_cycles"]),
        ({f"{MODELS}/tuned/augment": {"pitch": [13]}}, ["augment.pitch", "between -12 and 12"]),
        ({f"{MODELS}/tuned/augment": {"gain": [6, -6]}}, ["augment.gain", "[low, high] in dB"]),
        ({f"{MODELS}/tuned/augment": {"word_dropout": 0.1}}, ["augment.word_dropout", "works on sentences", "possible: concatenate, speed"]),
        ({f"{MODELS}/tuned/augment": {"subwords": True}}, ["augment.subwords", "the experiment's task is asr"]),
        ({f"{MODELS}/tuned/augment": {"spec_augment": "LS"}}, ["spec_augment.policy", "'LB', 'LD', 'SM' or 'SS'"]),
        ({f"{MODELS}/tuned/augment": {"spec_augment": {"time_wrap": 5}}}, ["did you mean 'time_warp'"]),
        ({f"{MODELS}/raw/from": {"scratch": {"family": "wav2vec2"}}, f"{MODELS}/tuned/augment": {"spec_augment": "LB"}}, ["spec_augment.frequency_masks", "reads waveforms", "time masks"]),
        ({f"{MODELS}/tuned/augment": {"reverb": {"rt60": [0.5, 0.1]}}}, ["augment.reverb.rt60", "shortest comes first"]),
        ({f"{MODELS}/tuned/augment": {"concatenate": {"utterances": 1}}}, ["concatenate.utterances", "greater than or equal to 2"]),
        ({f"{MODELS}/tuned/decoder_layerdrop": 0.1}, ["has no decoder"]),
        ({f"{MODELS}/tuned/sweep": {"grid": {"learning_rat": [1]}}}, ["learning_rat", "did you mean"]),
        ({f"{MODELS}/tuned/sweep": {"grid": {"learning_rate": ["1e-5", "0.00001"]}}}, ["two runs are both named"]),
        ({f"{MODELS}/tuned/sweep": {"grid": {"learning_rate": []}}}, ["at least one value"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/2", "by": "uniform", "beam": 2}}}, ["half.layers.encoder.beam", "another chooser than uniform: greedy"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/2", "by": "random_search", "swaps": True}}}, ["half.layers.encoder.swaps", "another chooser"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/2", "by": "learned", "rank": 2}}}, ["encoder.rank", "greedy, random_search"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": [2], "rank": 1}}}, ["encoder.rank", "goes with `by`: greedy, random_search"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/2", "by": "greedy", "beam": 0}}}, ["beam", "greater than or equal to 1"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/2", "by": "greedy", "rank": 5}}}, ["encoder.rank", "5 given", "at most 4 sets of 3 layers"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/2", "by": "greedy", "rank": 21, "swaps": True}}}, ["encoder.rank", "at most 20 sets"]),
        ({f"{MODELS}/half/layers": {"encoder": {"drop": "1/2", "by": "greed"}}}, ["did you mean 'greedy'"]),
        ({f"{MODELS}/half": {"prune": "mean", "layers": {"encoder": {"drop": "1/2", "by": "greed"}}, "metric": "wer"}}, ["did you mean 'greedy'"]),
        ({f"{MODELS}/half": {"prune": "mean", "width": {"drop": "1/4", "by": "tailor"}, "choose_on": {"d": "best"}}}, ["did you mean 'taylor'"]),
        ({f"{MODELS}/mean/average": ["base", "out"]}, ["nothing can be made of an export"]),
        ({f"{MODELS}/out/format": "onx"}, ["no export format 'onx'", "did you mean 'onnx'"]),
        ({f"{MODELS}/out/quantization": "int8"}, ["'float16' or 'bfloat16'"]),
        ({f"{MODELS}/raw/from": {"scratch": {"family": "wisper"}}}, ["did you mean 'whisper'"]),
        ({f"{MODELS}/raw/from": {"scratch": {"family": "marian"}}}, ["'marian' is for nmt"]),
        ({f"{MODELS}/raw/from": {"scratch": {"family": "ctc", "hiden_size": 3}}}, ["did you mean 'hidden_size'"]),
        ({f"{MODELS}/raw/from": {"hub": "x/y", "folder": "z"}}, ["one of hub, folder, folders, scratch"]),
        ({f"{MODELS}/raw/from": {"folders": ["nowhere/*"]}}, ["no folder matches"]),
        ({f"{MODELS}/raw": {"fetch": "x"}}, ["exactly one verb"]),
        ({f"{MODELS}/raw": {"train": "x", "prune": "y"}}, ["exactly one verb"]),
        ({"experiments/e/task": "tts"}, ["experiments.e.task", "asr"]),
        ({"experiments/e/languages": [False]}, ["languages.0", 'write "no" in quotes']),
        ({"experiments/e/metric": "bleu"}, ["no asr metric 'bleu'"]),
        ({"experiments/e/metrics": ["cer"]}, ["'wer' is not among those reported"]),
        ({"experiments/e/normaliser": "basik"}, ["did you mean 'basic'"]),
        ({"experiments/e/normaliser": "basic+numbrs"}, ["experiments.e.normaliser", "did you mean 'numbers'"]),
        ({"experiments/e/normaliser": "numbers+basic", "experiments/e/languages": ["sw"]}, ["e.normaliser", "no words for numbers of the language 'sw'", "it has am, ar"]),
        ({"experiments/e/normaliser": "whisper-english", "experiments/e/languages": ["fr"]}, ["e.normaliser", "is for English", "'fr'", "whisper-basic"]),
        ({"corpora/a-train/normaliser": "numbers", "experiments/e/languages": ["yo"]}, ["corpora.a-train.normaliser", "language 'yo'"]),
        ({"experiments/e/repeat": [1, 1]}, ["seeds must differ"]),
        ({"experiments/e/data/train": "c-train"}, ["no corpus 'c-train'"]),
        ({"experiments/e/data/train": "{x}-train"}, ["names a variable"]),
        ({"experiments/e/data/train": {"b-train": 0}}, ["larger than 0"]),
        ({"experiments/e/data/train": "b-test"}, ["is a test set", "only report"]),
        ({"experiments/e/data/dev": {"a": "a-test"}}, ["dev sets choose"]),
        ({"experiments/e/claims": [{"model": "soup", "beats": "tuned", "on": "b"}]}, ["has 4 runs", "tuned/best"]),
        ({"experiments/e/claims": [{"model": "soup", "beats": "base", "on": "c"}]}, ["no test set 'c'"]),
        ({"experiments/e/claims": [{"model": "soup", "keeps": "base", "on": "b"}]}, ["margin"]),
        ({"experiments/e/claims": [{"model": "base", "beats": "raw", "on": "b"}]}, ["'raw' is not scored"]),
        ({"corpora/a-train/source": "parralel"}, ["did you mean 'parallel'"]),
        ({"corpora/a-train/domain": "dirty"}, ["allowed: clean, shifted"]),
        ({"corpora/a-train/generator": "dosage"}, ["makes nmt data"]),
        ({"corpora/a-train/without": ["nothing"]}, ["no corpus 'nothing'"]),
        ({"corpora/a-train/siz": 3}, ["did you mean 'size'"]),
        ({"corpus": {}}, ["configuration.corpus", "did you mean 'corpora'"]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)  # fmt: skip
def test_a_mistake_is_named(change, settings, wanted):
    with pytest.raises(ConfigurationError) as caught:
        Plan(change(settings))
    for words in wanted:
        assert words in str(caught.value), f"{words!r} not in: {caught.value}"


def test_all_sections_with_mistakes_are_named_at_once(change):
    with pytest.raises(ConfigurationError) as caught:
        Plan(change({"corpora/a-dev/siz": 3, "experiments/e/tusk": 1}))
    assert "corpora.a-dev.siz" in str(caught.value) and "experiments.e.tusk" in str(caught.value)


@pytest.mark.parametrize(
    ("start", "settings", "wanted"),
    [
        ("wavlm", {"half/heads": {"drop": "1/4", "by": "taylor"}}, ["half.heads.by", "'wavlm' can't be masked", "magnitude, random"]),
        ("moonshine", {"half/width": {"drop": "1/4", "sides": ["decoder"]}}, ["half.width.sides", "intermediate_size is the width of decoder and encoder"]),
        ("SEWForCTC", {"half/layers": None, "half/width": {"drop": "1/4", "by": "random"}}, ["half.width", "outside the table"]),
        ("SEWForCTC", {"half/layers": {"encoder": {"drop": "1/4", "by": "random", "of": "sublayers"}}}, ["half.layers.encoder", "outside the table"]),
        ("moonshine", {"base/intermediate_ctc": {"spread": 1}}, ["base.intermediate_ctc", "'moonshine' is not trained with CTC"]),
        ("t5", {}, ["raw.from.scratch.family", "'t5' is for nmt"]),
        ("auto-ctc", {}, ["raw.from.scratch.family", "no family 'auto-ctc'"]),
        ("SEWForCTC", {}, ["half.layers.encoder", "outside the table of families"]),
        ("SEWForCTC", {"half/layers": None, "half/heads": {"drop": "1/4", "by": "random"}}, ["half.heads", "outside the table"]),
        ("SEWForCTC", {"half/layers": None, "half/heads": {"drop": "1/4"}}, ["half.heads", "outside the table"]),
        ("SEWForCTC", {"base/encoder_layerdrop": 0.1}, ["base.encoder_layerdrop", "outside the table"]),
        ("SEWForCTC", {"base/intermediate_ctc": {"spread": 1}}, ["base.intermediate_ctc", "outside the table"]),
        ("SEWForCTC", {"base/dropout": 0.1}, ["base.dropout", "unknown"]),
        ("wavlm", {"out/format": "ctranslate2"}, ["out.format", "allowed: safetensors"]),
        ("whisper", {"out/format": "onnx", "out/quantization": "int8"}, ["out.quantization: int8 given", "written as onnx in float32 alone"]),
        ("SEWModel", {}, ["model_type 'sew' belongs to no family"]),
    ],
)  # fmt: skip
def test_what_a_family_can_not_do_is_named(change, tmp_path, start, settings, wanted):
    """start: a family to begin with from scratch, or an architecture that a fetched checkpoint's config names."""
    scratch = {"scratch": {"family": start}}
    if start.startswith("SEW"):
        (tmp_path / "config.json").write_text(f'{{"model_type": "sew", "architectures": ["{start}"]}}')
        scratch = {"folder": str(tmp_path)}
    with pytest.raises(ConsommeError) as caught:
        Plan(change({f"{MODELS}/raw/from": scratch, **{f"{MODELS}/{key}": value for key, value in settings.items()}}))
    for words in wanted:
        assert words in str(caught.value), f"{words!r} not in: {caught.value}"


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "parakeet", "speech2text", "moonshine"])
def test_every_family_of_recognisers_can_be_planned_with(change, family):
    plan = Plan(change({f"{MODELS}/raw/from": {"scratch": {"family": family}}}))
    (half,) = (m for m in plan.studies["e"].models if m.name == "half")
    assert half.family == family and half.depth["encoder"] in (2, 3)


@pytest.mark.parametrize(
    ("field", "plan", "wanted"),
    [
        ("sublayers", {"layers": {"encoder": {"drop": "1/3", "by": "greedy", "of": "sublayers"}}}, ["half.layers.encoder.of", "doesn't define the sublayers"]),
        ("width", {"layers": None, "width": {"drop": "1/4"}}, ["half.width", "doesn't define the feed-forward blocks"]),
    ],
)  # fmt: skip
def test_a_family_that_names_no_parts_is_refused(change, monkeypatch, field, plan, wanted):
    """Such as another package's that was made before there were any."""
    from dataclasses import replace

    from consomme.families import TABLE

    family = TABLE["ctc"]
    stacks = {
        side: replace(stack, **{field: {} if field == "sublayers" else None}) for side, stack in family.stacks.items()
    }
    monkeypatch.setitem(TABLE._items, "ctc", replace(family, stacks=stacks))
    with pytest.raises(ConfigurationError) as caught:
        Plan(change({f"{MODELS}/half/{key}": value for key, value in plan.items()}))
    for words in wanted:
        assert words in str(caught.value), f"{words!r} not in: {caught.value}"
