"""The error catalogue: every error code, whose fault the error is, and what to do about it.

    CatalogueError        the only exception; `code` names an entry of CATALOGUE
    Fault                 REQUEST: the request is wrong; FILE: the video is; SERVICE: the service failed, try later

`serve_app.http.problem_details` maps each code to its HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    REQUEST = "request"
    FILE = "file"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class ErrorText:
    """The text for people: one sentence about what is wrong, one about what to do."""

    title: str
    remedy: str


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    fault: Fault
    en: ErrorText
    pt: ErrorText

    def text(self, locale: str) -> ErrorText:
        return self.pt if locale.lower().startswith("pt") else self.en


def _entry(fault: Fault, title: str, remedy: str, title_pt: str, remedy_pt: str) -> CatalogueEntry:
    return CatalogueEntry(fault, ErrorText(title, remedy), ErrorText(title_pt, remedy_pt))


_R, _F, _S = Fault.REQUEST, Fault.FILE, Fault.SERVICE

# fmt: off
CATALOGUE: Mapping[str, CatalogueEntry] = {
    # The request.
    "malformed_request": _entry(
        _R, "The request can't be read.", "Send well-formed JSON or multipart/form-data in UTF-8.",
        "A requisição não pode ser lida.", "Envie JSON ou multipart/form-data bem formado, em UTF-8."),
    "invalid_field": _entry(
        _R, "A field is invalid or unknown.", "Correct the field that the detail names.",
        "Um campo é inválido ou desconhecido.", "Corrija o campo indicado no detalhe."),
    "invalid_spec": _entry(
        _R, "The frame specification is invalid.", "Correct the field that the detail names.",
        "A especificação de quadros é inválida.", "Corrija o campo indicado no detalhe."),
    "unsupported_media_type": _entry(
        _R, "The content type is not the one this route takes.", "Send the content type that the detail names.",
        "O tipo de conteúdo não é o que esta rota aceita.", "Envie o tipo de conteúdo indicado no detalhe."),
    "no_file": _entry(
        _R, "The request has no part named file.", "Send one or more parts named file.",
        "A requisição não tem nenhuma parte chamada file.", "Envie uma ou mais partes chamadas file."),
    "too_large": _entry(
        _R, "The upload is larger than this route takes.",
        "Send fewer or smaller files in one request, or have the operator raise the limit.",
        "O envio é maior do que esta rota aceita.",
        "Envie menos arquivos ou arquivos menores por requisição, ou peça ao operador que aumente o limite."),
    "too_many_files": _entry(
        _R, "The request has too many files.", "Send the files in several requests.",
        "A requisição tem arquivos demais.", "Envie os arquivos em várias requisições."),
    "length_required": _entry(
        _R, "The request does not say how long its body is.", "Send a Content-Length header.",
        "A requisição não informa o tamanho do corpo.", "Envie o cabeçalho Content-Length."),
    "request_timeout": _entry(
        _R, "The body of the request arrived too slowly.",
        "Send it again over a better connection. An upload goes on at the offset that HEAD tells.",
        "O corpo da requisição chegou devagar demais.",
        "Envie de novo por uma conexão melhor. Um envio continua na posição que HEAD informa."),
    "empty_selection": _entry(
        _R, "The specification selects no frame of this video.", "Widen the range or choose other times.",
        "A especificação não seleciona nenhum quadro deste vídeo.", "Amplie o intervalo ou escolha outros tempos."),
    "too_many_frames": _entry(
        _R, "The specification selects more frames than one extraction may give.",
        "Lower the rate, narrow the range, or set max_frames.",
        "A especificação seleciona mais quadros do que uma extração pode fornecer.",
        "Reduza a taxa, estreite o intervalo ou defina max_frames."),
    "idempotency_key_reused": _entry(
        _R, "This Idempotency-Key came with another request before.", "Use a new key for a new request.",
        "Esta Idempotency-Key já veio com outra requisição.", "Use uma chave nova para uma requisição nova."),
    "idempotency_in_progress": _entry(
        _R, "The first request with this Idempotency-Key is still running.", "Repeat the request in a moment.",
        "A primeira requisição com esta Idempotency-Key ainda está em andamento.",
        "Repita a requisição em instantes."),
    "bad_range": _entry(
        _R, "The Range header asks for bytes that are not there.", "Ask for bytes inside the archive's size.",
        "O cabeçalho Range pede bytes que não existem.", "Peça bytes dentro do tamanho do arquivo."),
    "tus_unsupported": _entry(
        _R, "This is not a tus request that the service knows.",
        "Use tus 1.0.0 with the extensions that OPTIONS names.",
        "Esta não é uma requisição tus que o serviço conheça.", "Use tus 1.0.0 com as extensões que OPTIONS indica."),
    "upload_conflict": _entry(
        _R, "The upload is at another offset.", "Ask for the offset with HEAD, then go on from there.",
        "O envio está em outra posição.", "Pergunte a posição com HEAD e continue a partir dela."),
    "chunk_checksum_mismatch": _entry(
        _R, "The bytes that arrived do not have the checksum of the request.", "Send the same bytes again.",
        "Os bytes recebidos não têm o checksum da requisição.", "Envie os mesmos bytes novamente."),
    "too_many_chunks": _entry(
        _R, "The upload came in too many small pieces.", "Send the rest in larger pieces.",
        "O envio veio em pedaços pequenos demais.", "Envie o restante em pedaços maiores."),
    "upload_gone": _entry(
        _R, "The upload was terminated or has expired.", "Begin a new upload.",
        "O envio foi cancelado ou expirou.", "Comece um novo envio."),
    # The caller.
    "unauthenticated": _entry(
        _R, "The request carries no valid token.", "Log in and send Authorization: Bearer with the access token.",
        "A requisição não traz um token válido.", "Entre e envie Authorization: Bearer com o token de acesso."),
    "token_expired": _entry(
        _R, "The token has expired.", "Get a new access token with the refresh token, or log in again.",
        "O token expirou.", "Obtenha um novo token de acesso com o refresh token ou entre novamente."),
    "bad_credentials": _entry(
        _R, "The e-mail or the password is wrong.", "Check both, or register.",
        "O e-mail ou a senha está errado.", "Confira os dois ou cadastre-se."),
    "refresh_token_reused": _entry(
        _R, "This refresh token was used before; its session has been ended.", "Log in again.",
        "Este refresh token já foi usado; a sessão foi encerrada.", "Entre novamente."),
    "email_taken": _entry(
        _R, "An account with this e-mail exists.", "Log in, or register another e-mail.",
        "Já existe uma conta com este e-mail.", "Entre, ou cadastre outro e-mail."),
    "registration_closed": _entry(
        _R, "Registration is closed here.", "Ask the operator for an account.",
        "O cadastro está fechado aqui.", "Peça uma conta ao operador."),
    "account_disabled": _entry(
        _R, "This account is disabled.", "Ask the operator.",
        "Esta conta está desativada.", "Fale com o operador."),
    "cross_site": _entry(
        _R, "A cookie session can't be used from another site.", "Use the page itself, or a bearer token.",
        "Uma sessão por cookie não pode ser usada a partir de outro site.",
        "Use a própria página ou um token bearer."),
    "session_required": _entry(
        _R, "An API key is not enough for this.", "Log in with the password, and repeat the request with that session.",
        "Uma chave de API não basta para isto.", "Entre com a senha e repita a requisição com essa sessão."),
    "too_many_requests": _entry(
        _R, "Too many requests.", "Wait as long as Retry-After says, then repeat.",
        "Requisições demais.", "Espere o tempo indicado em Retry-After e repita."),
    "too_many_waiting": _entry(
        _R, "As many of your extractions wait or run as may.", "Wait until some of them have ended, then repeat.",
        "Já há tantas extrações suas em espera ou em andamento quantas são permitidas.",
        "Espere até que algumas terminem e repita."),
    "quota_exceeded": _entry(
        _R, "Your account has no room left.", "Delete videos that you no longer need, or ask the operator for more.",
        "Sua conta não tem mais espaço.", "Exclua vídeos de que não precisa mais ou peça mais espaço ao operador."),
    "minutes_exceeded": _entry(
        _R, "As many minutes of video were extracted for you in a day as may be.",
        "Wait as long as Retry-After says, or ask the operator for more.",
        "Já foram extraídos para você tantos minutos de vídeo em um dia quantos são permitidos.",
        "Espere o tempo indicado em Retry-After ou peça mais ao operador."),
    "too_many_webhooks": _entry(
        _R, "Your account has as many webhooks as it may have.", "Delete one that you no longer need.",
        "Sua conta já tem tantos webhooks quantos são permitidos.", "Exclua um de que não precisa mais."),
    "too_many_api_keys": _entry(
        _R, "Your account has as many API keys as it may have.", "Delete one that you no longer need.",
        "Sua conta já tem tantas chaves de API quantas são permitidas.", "Exclua uma de que não precisa mais."),
    "too_many_presets": _entry(
        _R, "Your account has as many presets as it may have.", "Delete one that you no longer need.",
        "Sua conta já tem tantas predefinições quantas são permitidas.", "Exclua uma de que não precisa mais."),
    "too_many_streams": _entry(
        _R, "As many streams of events are open for your account as may be.",
        "Close one that you no longer need, or read the list from time to time.",
        "Já há tantos fluxos de eventos abertos para sua conta quantos são permitidos.",
        "Feche um de que não precisa mais ou leia a lista de tempos em tempos."),
    # The state of resources.
    "not_found": _entry(
        _R, "There is nothing of yours under this address.", "Check the id, or list your videos.",
        "Não há nada seu neste endereço.", "Confira o id ou liste seus vídeos."),
    "method_not_allowed": _entry(
        _R, "This address does not take this method.", "Use one of the methods in the Allow header.",
        "Este endereço não aceita este método.", "Use um dos métodos do cabeçalho Allow."),
    "not_ready": _entry(
        _R, "The extraction is not finished yet.", "Wait until its status is succeeded.",
        "A extração ainda não terminou.", "Espere até o status ser succeeded."),
    "not_probed": _entry(
        _R, "No worker has looked into the video yet.", "Ask again in a moment.",
        "Nenhum worker examinou o vídeo ainda.", "Pergunte novamente em instantes."),
    "no_result": _entry(
        _R, "The extraction ended without a result.", "See its error, then retry it.",
        "A extração terminou sem resultado.", "Veja o erro e tente novamente."),
    "expired": _entry(
        _R, "The result was removed after its time.", "Run the extraction again.",
        "O resultado foi removido após o prazo.", "Execute a extração novamente."),
    "video_expired": _entry(
        _R, "The video's bytes were removed after their time.", "Send the video again.",
        "Os bytes do vídeo foram removidos após o prazo.", "Envie o vídeo novamente."),
    "precondition_failed": _entry(
        _R, "It has changed since you read it.", "Read it again, then send the request with its new ETag.",
        "Isto mudou desde que você o leu.", "Leia de novo e envie a requisição com o novo ETag."),
    "wrong_state": _entry(
        _R, "The extraction's status does not allow this.", "See its current status in the detail.",
        "O status da extração não permite isto.", "Veja o status atual no detalhe."),
    "webhook_off": _entry(
        _R, "The webhook is switched off, because it answered 410 Gone.", "Delete it and create it again.",
        "O webhook está desligado, porque respondeu 410 Gone.", "Exclua-o e crie-o novamente."),
    # The file.
    "empty_file": _entry(
        _F, "The file is empty.", "Check that the file was copied completely and send it again.",
        "O arquivo está vazio.", "Verifique se o arquivo foi copiado por completo e envie de novo."),
    "playlist": _entry(
        _F, "The file is a playlist, not a video.", "Send the video itself, in one file.",
        "O arquivo é uma playlist, não um vídeo.", "Envie o próprio vídeo, em um só arquivo."),
    "not_a_video": _entry(
        _F, "The file is not a video of a known container.",
        "Send MP4, MOV, MKV, WebM, AVI, MPEG-TS, MPEG, FLV or WMV.",
        "O arquivo não é um vídeo de um contêiner conhecido.",
        "Envie MP4, MOV, MKV, WebM, AVI, MPEG-TS, MPEG, FLV ou WMV."),
    "checksum_mismatch": _entry(
        _F, "The video's bytes do not have the SHA-256 that came with its upload.", "Send the file again.",
        "Os bytes do vídeo não têm o SHA-256 informado no envio.", "Envie o arquivo novamente."),
    "unreadable_container": _entry(
        _F, "The container is damaged or cut off, and its index can't be read.",
        "Copy or export the video again; the file is likely incomplete.",
        "O contêiner está danificado ou cortado e seu índice não pode ser lido.",
        "Copie ou exporte o vídeo de novo; o arquivo provavelmente está incompleto."),
    "no_video_stream": _entry(
        _F, "The file has no video stream.", "Send a file that has pictures; this one has only sound or data.",
        "O arquivo não tem fluxo de vídeo.", "Envie um arquivo com imagens; este só tem som ou dados."),
    "no_frames": _entry(
        _F, "The video stream has no frame that can be displayed.", "Export the video again.",
        "O fluxo de vídeo não tem nenhum quadro exibível.", "Exporte o vídeo novamente."),
    "no_timestamps": _entry(
        _F, "The file does not say when its frames are shown.", "Remux the video into MP4 or MKV.",
        "O arquivo não diz quando seus quadros são exibidos.", "Refaça o contêiner do vídeo em MP4 ou MKV."),
    "encrypted": _entry(
        _F, "The video is encrypted.", "Send a copy without copy protection.",
        "O vídeo está criptografado.", "Envie uma cópia sem proteção contra cópia."),
    "unsupported_codec": _entry(
        _F, "No decoder knows this video's codec.", "Convert the video to H.264, HEVC, VP9 or AV1.",
        "Nenhum decodificador conhece o codec deste vídeo.", "Converta o vídeo para H.264, HEVC, VP9 ou AV1."),
    "undecodable": _entry(
        _F, "The frames asked for can't be decoded with certainty.", "Copy or export the video again.",
        "Os quadros pedidos não podem ser decodificados com certeza.", "Copie ou exporte o vídeo novamente."),
    "picture_too_large": _entry(
        _F, "The video's picture is larger than can be decoded here.", "Send a video of at most 16,384 pixels a side.",
        "A imagem do vídeo é maior do que se pode decodificar aqui.",
        "Envie um vídeo de no máximo 16.384 pixels por lado."),
    "reader_disagrees": _entry(
        _F, "The reader that was asked for gives other frames than the file's own table.",
        "Use reader auto or pyav for this file.",
        "O leitor pedido fornece quadros diferentes da tabela do próprio arquivo.",
        "Use o leitor auto ou pyav para este arquivo."),
    "gave_up": _entry(
        _F, "The file made the decoder crash or hang three times.",
        "Convert the video with another program and send it again.",
        "O arquivo fez o decodificador falhar ou travar três vezes.",
        "Converta o vídeo com outro programa e envie de novo."),
    # The service.
    "workers_lost": _entry(
        _S, "The work was lost with its worker too many times.", "Retry the extraction; tell the operator.",
        "O trabalho se perdeu com seu worker vezes demais.", "Tente a extração novamente; avise o operador."),
    "service_failed": _entry(
        _S, "A part of the service was away for too long.", "Retry the extraction later.",
        "Uma parte do serviço ficou fora por tempo demais.", "Tente a extração novamente mais tarde."),
    "damaged_result": _entry(
        _S, "The stored result is damaged.", "Delete the video and send it again; tell the operator.",
        "O resultado armazenado está danificado.", "Exclua o vídeo e envie-o novamente; avise o operador."),
    "paused": _entry(
        _S, "The operator has paused the service: nothing new is accepted.",
        "Wait as long as Retry-After says, then repeat. What was accepted is kept, and results can be fetched.",
        "O operador pausou o serviço: nada novo é aceito.",
        "Espere o tempo indicado em Retry-After e repita. O que foi aceito está guardado, e os resultados podem ser "
        "baixados."),
    "queue_full": _entry(
        _S, "The queue is full.", "Wait as long as Retry-After says, then repeat.",
        "A fila está cheia.", "Espere o tempo indicado em Retry-After e repita."),
    "busy": _entry(
        _S, "As many uploads are being read as can be.", "Wait as long as Retry-After says, then repeat.",
        "Já há tantos envios sendo lidos quantos são possíveis.", "Espere o tempo indicado em Retry-After e repita."),
    "streams_full": _entry(
        _S, "As many streams of events are open as can be.", "Wait as long as Retry-After says, then connect again.",
        "Já há tantos fluxos de eventos abertos quantos são possíveis.",
        "Espere o tempo indicado em Retry-After e conecte-se de novo."),
    "storage_full": _entry(
        _S, "The store has no room left.", "Try again later; tell the operator.",
        "Não há mais espaço de armazenamento.", "Tente mais tarde; avise o operador."),
    "unavailable": _entry(
        _S, "A part of the service is away.", "Wait as long as Retry-After says, then repeat.",
        "Uma parte do serviço está fora do ar.", "Espere o tempo indicado em Retry-After e repita."),
    "internal": _entry(
        _S, "Something failed that should not have.", "Repeat the request; give the operator its request_id.",
        "Algo falhou que não deveria.", "Repita a requisição; informe o request_id ao operador."),
}
# fmt: on


class CatalogueError(Exception):
    """An error of the catalogue.

    code: a key of CATALOGUE. detail: one sentence of facts, safe to show to the owner.
    retry_after: seconds after which a repeated request may succeed, or None.
    """

    def __init__(self, code: str, detail: str = "", *, retry_after: int | None = None) -> None:
        self.entry = CATALOGUE[code]
        self.code = code
        self.detail = detail or self.entry.en.title
        self.retry_after = retry_after
        # pickle, which Ray uses, makes the copy from the positional arguments and then sets the attributes.
        super().__init__(code, self.detail)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def fault(self) -> Fault:
        return self.entry.fault

    @property
    def remedy(self) -> str:
        return self.entry.en.remedy
