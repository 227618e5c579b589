"""U-Nets and autoencoders of diffusers, where it is installed."""

import torch

from harness import Skip, network

try:
    import vision  # noqa: F401
except Skip:
    pass
try:
    from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel
except (ImportError, RuntimeError) as missing:
    raise Skip(str(missing).splitlines()[0]) from missing


def config_of(model):
    return {name: list(value) if isinstance(value, tuple) else value for name, value in model.config.items()} | {
        "_class_name": type(model).__name__
    }


def entry(name, make, inputs):
    network("diffusers", name, least=0.95, config=config_of(make()))(lambda: (make(), inputs))


TEXT = lambda: (torch.randn(1, 3, 8, 8), torch.tensor([3.0]), torch.randn(1, 5, 12))


def conditional(**more):
    words = dict(sample_size=8, in_channels=3, out_channels=3, cross_attention_dim=12, norm_num_groups=4, layers_per_block=1)
    return UNet2DConditionModel(**(words | more))


SMALL = dict(
    block_out_channels=(16, 32),
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)
entry("unet-condition", lambda: conditional(attention_head_dim=4, **SMALL), TEXT)
entry("unet-condition-heads-by-block", lambda: conditional(attention_head_dim=(2, 4), use_linear_projection=True, transformer_layers_per_block=2, **SMALL), TEXT)
entry(
    "unet-condition-three",
    lambda: conditional(
        attention_head_dim=2,
        layers_per_block=2,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        block_out_channels=(16, 24, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    ),
    TEXT,
)
entry(
    "unet-plain",
    lambda: UNet2DModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ),
    lambda: (torch.randn(1, 3, 8, 8), torch.tensor([3.0])),
)
for count, widths in (1, (8, 16)), (2, (16, 16, 32)):
    entry(
        f"autoencoder-{len(widths)}",
        lambda count=count, widths=widths: AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=count,
            norm_num_groups=4,
        ),
        lambda: torch.randn(1, 3, 16, 16),
    )
