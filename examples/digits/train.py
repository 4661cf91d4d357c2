"""Trains a small convolutional network on scikit-learn's handwritten digits (1,797 real images of 8 by 8 pixels).

Reads from top to bottom. By hand: `python train.py --lr 0.01 --epochs 3`.
"""

import argparse
import math

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import dropsweep

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--lr", type=float, default=0.003, help="learning rate")
parser.add_argument("--width", type=int, default=16, help="channels of the first layer; the second has twice as many")
parser.add_argument("--batch-size", type=int, default=32, help="images a step")
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam", help="sgd is with momentum 0.9")
parser.add_argument("--epochs", type=int, default=12, help="passes over the training images")
parser.add_argument("--steps-per-checkpoint", type=int, default=0, help="0: a checkpoint at the end of each epoch")
parser.add_argument("--seed", type=int, default=0, help="of the first weights and of the order of the images")
args = parser.parse_args()

torch.set_num_threads(1)  # a network this small is faster on one core, and trials run side by side
torch.manual_seed(args.seed)
device = "cuda" if torch.cuda.is_available() else "cpu"

# Data: 1,437 images to train on and 360 to measure, the same for every trial whatever its seed.
digits = load_digits()
order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
images = torch.tensor(digits.images, dtype=torch.float32, device=device)[order, None] / 16  # (1797, 1, 8, 8) in [0, 1]
labels = torch.tensor(digits.target, device=device)[order]
train_images, train_labels = images[:1437], labels[:1437]
valid_images, valid_labels = images[1437:], labels[1437:]

model = nn.Sequential(
    nn.Conv2d(1, args.width, kernel_size=3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(args.width, 2 * args.width, kernel_size=3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(2 * args.width * 2 * 2, 10),
).to(device)
if args.optimizer == "sgd":
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
else:
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)

steps_per_epoch = math.ceil(len(train_images) / args.batch_size)
num_steps = args.epochs * steps_per_epoch
steps_per_checkpoint = args.steps_per_checkpoint or steps_per_epoch
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=num_steps)  # from --lr down to 0

# Resume: what the next step depends on is the weights, the optimizer's memory, the place in the schedule, the state of
# the random numbers and the place in the data. With all of them back, the run goes on as if it had never been cut.
step, total_loss = 0, 0.0
image_order = torch.empty(0, dtype=torch.int64)
resume_from = dropsweep.resume_from()
if resume_from is not None:
    state = torch.load(resume_from / "state.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["rng"])
    step, total_loss, image_order = state["step"], state["total_loss"], state["image_order"]
    print(f"resumed after epoch {step // steps_per_epoch} ({step} of {num_steps} steps)", flush=True)

while step < num_steps:
    position = step % steps_per_epoch
    if position == 0:
        image_order = torch.randperm(len(train_images))
        total_loss = 0.0
    batch = image_order[position * args.batch_size :][: args.batch_size]
    model.train()
    loss = cross_entropy(model(train_images[batch]), train_labels[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    total_loss += loss.item() * len(batch)
    step += 1

    if step % steps_per_epoch == 0:
        epoch = step // steps_per_epoch
        train_loss = total_loss / len(train_images)
        model.eval()
        with torch.no_grad():
            scores = model(valid_images)
        loss = cross_entropy(scores, valid_labels)
        accuracy = (scores.argmax(dim=1) == valid_labels).sum().item() / len(valid_labels)
        dropsweep.report(step=epoch, accuracy=accuracy, loss=loss, train_loss=train_loss)
        print(f"epoch {epoch}/{args.epochs}  accuracy {accuracy:.4f}  loss {loss:.4f}", flush=True)

    # After the report: a run that is cut short between the two repeats these steps, and no epoch is left out.
    if step % steps_per_checkpoint == 0:
        with dropsweep.checkpoint(step) as folder:
            state = {"step": step, "total_loss": total_loss, "image_order": image_order, "rng": torch.get_rng_state()}
            state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"schedule": schedule.state_dict()}
            torch.save(state, folder / "state.pt")

torch.save(model.state_dict(), dropsweep.outputs() / "model.pt")
