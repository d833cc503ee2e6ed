"""The networks before GoogLeNet that torchvision does not have: AlexNet of 2012, ZFNet, Network in Network.

Images are (N, 3, H, W), outputs logits (N, num_classes). Each is a plain `nn.Sequential` whose layers bear the
papers' names. The fully connected ones take one image size alone.
"""

from typing import Any

from torch import nn

from inception_lab.models.blocks import named


def alexnet_2012(num_classes: int = 1000) -> nn.Sequential:
    """AlexNet with the two groups that its two GPUs made, for 227×227 images.

    Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks". The paper
    says 224 pixels; 11×11 kernels with stride 4 give its 55×55 map from 227.
    """
    return named(
        conv1=nn.Conv2d(3, 96, 11, stride=4),
        relu1=nn.ReLU(inplace=True),
        norm1=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
        pool1=nn.MaxPool2d(3, stride=2),
        conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
        relu2=nn.ReLU(inplace=True),
        norm2=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
        pool2=nn.MaxPool2d(3, stride=2),
        conv3=nn.Conv2d(256, 384, 3, padding=1),
        relu3=nn.ReLU(inplace=True),
        conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
        relu4=nn.ReLU(inplace=True),
        conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
        relu5=nn.ReLU(inplace=True),
        pool5=nn.MaxPool2d(3, stride=2),
        **_classifier(256 * 6 * 6, num_classes),
    )


def zfnet(num_classes: int = 1000) -> nn.Sequential:
    """ZFNet for 224×224 images: AlexNet with a finer first layer.

    Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks", arXiv:1311.2901, Figure 3. Padding
    and rounding follow from the printed map sizes 110, 55, 26, 13 and 6.
    """
    return named(
        conv1=nn.Conv2d(3, 96, 7, stride=2, padding=1),
        relu1=nn.ReLU(inplace=True),
        pool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        norm1=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
        conv2=nn.Conv2d(96, 256, 5, stride=2),
        relu2=nn.ReLU(inplace=True),
        pool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        norm2=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
        conv3=nn.Conv2d(256, 384, 3, padding=1),
        relu3=nn.ReLU(inplace=True),
        conv4=nn.Conv2d(384, 384, 3, padding=1),
        relu4=nn.ReLU(inplace=True),
        conv5=nn.Conv2d(384, 256, 3, padding=1),
        relu5=nn.ReLU(inplace=True),
        pool5=nn.MaxPool2d(3, stride=2),
        **_classifier(256 * 6 * 6, num_classes),
    )


def nin(num_classes: int = 1000) -> nn.Sequential:
    """Network in Network for ImageNet: three blocks of one k×k and two 1×1 convolutions, then global pooling.

    Lin, Chen & Yan 2013, arXiv:1312.4400, in the ImageNet form that its authors gave to the Caffe model zoo.
    """
    return named(
        **_mlpconv(1, 3, (96, 96, 96), 11, stride=4),
        pool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        **_mlpconv(2, 96, (256, 256, 256), 5, padding=2),
        pool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        **_mlpconv(3, 256, (384, 384, 384), 3, padding=1),
        pool3=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        dropout=nn.Dropout(0.5),
        **_mlpconv(4, 384, (1024, 1024, num_classes), 3, padding=1),
        avg_pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
    )


def _mlpconv(
    block: int, in_channels: int, widths: tuple[int, int, int], kernel: int, **options: Any
) -> dict[str, nn.Module]:
    first, second, third = widths
    convolutions = {
        f"conv{block}": nn.Conv2d(in_channels, first, kernel, **options),
        f"conv{block}_1x1a": nn.Conv2d(first, second, 1),
        f"conv{block}_1x1b": nn.Conv2d(second, third, 1),
    }
    layers: dict[str, nn.Module] = {}
    for name, convolution in convolutions.items():
        layers[name] = convolution
        layers[name.replace("conv", "relu")] = nn.ReLU(inplace=True)
    return layers


def _classifier(features: int, num_classes: int) -> dict[str, nn.Module]:
    return dict(
        flatten=nn.Flatten(),
        fc6=nn.Linear(features, 4096),
        relu6=nn.ReLU(inplace=True),
        dropout6=nn.Dropout(0.5),
        fc7=nn.Linear(4096, 4096),
        relu7=nn.ReLU(inplace=True),
        dropout7=nn.Dropout(0.5),
        fc8=nn.Linear(4096, num_classes),
    )
