"""The Anthropic Messages wire format as a sans-IO library: bytes in, values out, and back.

Knows requests, answers, streams, errors and the list of models. Knows no sockets, no clock, no randomness and no
engine: ids are passed in, and what an engine says arrives as `pensieve_core.GenerationEvent`.

Above: `pensieve_http`. Below: `pensieve_core` alone.
"""

from pensieve_protocol._accumulator import MessageAccumulator
from pensieve_protocol._errors import (
    ApiError,
    ErrorDetail,
    ErrorEvent,
    ErrorType,
    RequestError,
    api_error,
    error_body,
    error_event,
    to_api_error,
)
from pensieve_protocol._events import (
    BlockDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDelta,
    MessageDeltaEvent,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    encode_sse,
)
from pensieve_protocol._json import dump_json
from pensieve_protocol._messages import (
    Message,
    MessageUsage,
    OutputTokensDetails,
    ResponseBlock,
    ResponseText,
    ResponseThinking,
    ResponseToolUse,
    StopReason,
    TokenCount,
)
from pensieve_protocol._models import (
    ModelInfo,
    ModelPage,
    OpenAIModel,
    OpenAIModelList,
    PageQuery,
    model_info,
    openai_model,
    paginate,
    parse_page_query,
)
from pensieve_protocol._parse import API_VERSIONS, check_version, parse_count_tokens_request, parse_messages_request
from pensieve_protocol._requests import CountTokensRequest, InputMessage, MessagesRequest
from pensieve_protocol._stream import IllegalTransition, MessageStream, Signer, sign_thinking
from pensieve_protocol._translation import to_generation_request

__all__ = [
    "API_VERSIONS",
    "ApiError",
    "BlockDelta",
    "ContentBlockDelta",
    "ContentBlockStart",
    "ContentBlockStop",
    "CountTokensRequest",
    "ErrorDetail",
    "ErrorEvent",
    "ErrorType",
    "IllegalTransition",
    "InputJsonDelta",
    "InputMessage",
    "Message",
    "MessageAccumulator",
    "MessageDelta",
    "MessageDeltaEvent",
    "MessageStart",
    "MessageStop",
    "MessageStream",
    "MessageUsage",
    "MessagesRequest",
    "ModelInfo",
    "ModelPage",
    "OpenAIModel",
    "OpenAIModelList",
    "OutputTokensDetails",
    "PageQuery",
    "Ping",
    "RequestError",
    "ResponseBlock",
    "ResponseText",
    "ResponseThinking",
    "ResponseToolUse",
    "SignatureDelta",
    "Signer",
    "StopReason",
    "StreamEvent",
    "TextDelta",
    "ThinkingDelta",
    "TokenCount",
    "api_error",
    "check_version",
    "dump_json",
    "encode_sse",
    "error_body",
    "error_event",
    "model_info",
    "openai_model",
    "paginate",
    "parse_count_tokens_request",
    "parse_messages_request",
    "parse_page_query",
    "sign_thinking",
    "to_api_error",
    "to_generation_request",
]
