"""Vision networks of torchvision in several sizes: those of its names, and others that its classes allow."""

import torch
from torch import nn

from harness import network
from networks.torchvision_nets import picture, plain
from vision import torchvision

models = torchvision.models

# Networks by name, with the size of the picture.
NAMED = {
    "densenet169": 64,
    "squeezenet1_0": 64,
    "shufflenet_v2_x1_0": 64,
    "shufflenet_v2_x1_5": 64,
    "regnet_x_400mf": 64,
    "regnet_y_800mf": 64,
    "convnext_tiny": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "maxvit_t": 224,
}
for name, size in NAMED.items():
    # Of interleaved channels, a spec can not permute each half alone.
    network("torchvision", name, least=0.9 if name.startswith("shuffle") else 0.95)(plain(name, size))

STAYS = [r"relative_coords_table"]


def sized(name, make, size=32, least=0.95, **more):
    network("torchvision", name, least=least, **more)(lambda: (make(), picture(size)))


sized("densenet-small", lambda: models.DenseNet(8, (2, 3, 2), 12, num_classes=5))
sized("densenet-five-blocks", lambda: models.DenseNet(4, (1, 2, 1, 2, 3), 8, num_classes=5), 64)
sized("shufflenet-small", lambda: models.ShuffleNetV2([2, 3, 2], [8, 32, 64, 96, 128], num_classes=5), least=0.8)


def regnet(group, se):
    from torchvision.models.regnet import BlockParams, RegNet

    return RegNet(BlockParams([2, 1, 2], [16, 24, 48], [group] * 3, [1.0] * 3, [2, 2, 2], se), num_classes=5, stem_width=8)


sized("regnet-x-small", lambda: regnet(8, None))
sized("regnet-y-small", lambda: regnet(4, 0.25))


def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 12, 2), CNBlockConfig(12, 16, 1), CNBlockConfig(16, None, 2)], num_classes=5)


sized("convnext-small", convnext, 64)


def swin(second):
    from torchvision.models.swin_transformer import PatchMerging, PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

    more = dict(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2) if second else dict(downsample_layer=PatchMerging)
    return SwinTransformer([4, 4], 16, [2, 2, 2], [2, 4, 8], [4, 4], num_classes=5, **more)


sized("swin-small", lambda: swin(False))
sized("swin-v2-small", lambda: swin(True), stays=STAYS, allowed=1e-8)
sized(
    "maxvit-small",
    lambda: models.MaxVit((32, 32), 8, 2, [8, 16], [1, 2], 4, 0.0, num_classes=5),
)


def vit(**more):
    return models.VisionTransformer(16, 4, 2, 4, 24, 48, num_classes=5, **more)


sized("vit-small", vit, 16, config={"num_heads": 4})
sized("vit-pre-logits", lambda: vit(representation_size=20), 16, config={"num_heads": 4})


def vit_stem():
    from torchvision.models.vision_transformer import ConvStemConfig

    return models.VisionTransformer(16, 4, 1, 2, 24, 48, num_classes=5, conv_stem_configs=[ConvStemConfig(8, 3, 2), ConvStemConfig(12, 3, 2)])


sized("vit-stem", vit_stem, 16, config={"num_heads": 2})


@network("torchvision", least=0.95)
def inception_v3():
    return models.inception_v3(weights=None, num_classes=7, init_weights=False, aux_logits=False), picture(96)


@network("torchvision", least=0.95)
def inception_v3_auxiliary():
    return models.inception_v3(weights=None, num_classes=7, init_weights=False), picture(299)


@network("torchvision", least=0.95)
def googlenet_auxiliary():
    model = models.googlenet(weights=None, num_classes=7, init_weights=False)
    return model, picture(64)


@network("torchvision", least=0.95)
def densenet_other_head():
    model = models.DenseNet(8, (2, 3), 12, num_classes=5)
    model.classifier = nn.Sequential(nn.Linear(model.classifier.in_features, 5), nn.ReLU(), nn.Linear(5, 3))
    return model, picture(32)

segmentation = models.segmentation
for name in ("deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"):
    for auxiliary in (False,) if name.startswith("lraspp") else (False, True):
        network("segmentation", name + ("-auxiliary" if auxiliary else ""), least=0.95)(
            lambda name=name, more={} if name.startswith("lraspp") else {"aux_loss": auxiliary}: (
                getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=4, **more),
                picture(48),
            )
        )


def huggingface_resnet(head, **more):
    from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

    config = ResNetConfig(embedding_size=8, num_labels=5, **more)
    return (ResNetForImageClassification if head else ResNetModel)(config)


BOTTLENECK = dict(hidden_sizes=[16, 32, 48], depths=[2, 1, 2], layer_type="bottleneck")
for name, more in {
    "hf-resnet-bottleneck": BOTTLENECK,
    "hf-resnet-basic": dict(hidden_sizes=[8, 16], depths=[2, 3], layer_type="basic"),
    "hf-resnet-downsample-first": dict(hidden_sizes=[16, 32], depths=[1, 2], downsample_in_bottleneck=True),
}.items():
    sized(name, lambda more=more: huggingface_resnet(True, **more))
network("torchvision", "hf-resnet-headless", least=0.5)(lambda: (huggingface_resnet(False, **BOTTLENECK), picture(32)))
