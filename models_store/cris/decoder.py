"""CRIS's decoder: image positions attend to each other and to the words."""

from __future__ import annotations

from torch import Tensor, nn

from models_store.cris.layers import sinusoids, sinusoids_2d


class DecoderLayer(nn.Module):
    """Self-attention, attention to the words, feed-forward; norms also on what attention returns."""

    def __init__(self, width: int, text_width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        words = {} if text_width == width else {"kdim": text_width, "vdim": text_width}
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True, **words)
        self.self_attn_norm, self.cross_attn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffn = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, image: Tensor, words: Tensor, image_at: Tensor, words_at: Tensor, padding: Tensor
    ) -> Tensor:
        """One layer.

        Args:
            image: [B, h*w, width].
            words: [B, L, text_width].
            image_at: The image's fixed positions [h*w, width].
            words_at: The words' fixed positions [L, text_width].
            padding: [B, L], true where there is no word.
        """
        x = self.norm1(image)
        where = x + image_at
        attended = self.self_attn(where, where, x, need_weights=False)[0]
        image = image + self.dropout(self.self_attn_norm(attended))
        x = self.norm2(image)
        attended = self.multihead_attn(
            x + image_at, words + words_at, words, key_padding_mask=padding, need_weights=False
        )[0]
        image = image + self.dropout(self.cross_attn_norm(attended))
        return image + self.dropout(self.ffn(self.norm3(image)))


class Decoder(nn.Module):
    """A stack of layers over the neck's map.

    Args:
        layers: Number of layers.
        width: Channels of the map, a multiple of four.
        text_width: Width of word features.
        heads, hidden, dropout: Of each layer.
    """

    def __init__(
        self, *, layers: int, width: int, text_width: int, heads: int, hidden: int, dropout: float = 0.0
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, text_width, heads, hidden, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, grid: Tensor, words: Tensor, padding: Tensor) -> Tensor:
        """Let the words work on the map.

        Args:
            grid: [B, width, h, w].
            words: [B, L, text_width].
            padding: [B, L], true where there is no word.

        Returns:
            [B, width, h, w].
        """
        rows, columns = grid.shape[-2:]
        image = grid.flatten(2).transpose(1, 2)
        image_at = sinusoids_2d(rows, columns, image.shape[-1], image)
        words_at = sinusoids(words.shape[1], words.shape[2], words)
        for layer in self.layers:
            image = layer(image, words, image_at, words_at, padding)
        return self.norm(image).transpose(1, 2).unflatten(2, (rows, columns))
